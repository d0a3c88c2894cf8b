"""The completion model: log-likelihoods and generation behind one interface."""
