"""Labelled examples as data: built, stored, looked at, rebuilt from references."""
