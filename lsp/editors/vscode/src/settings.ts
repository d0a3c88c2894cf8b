// VS Code's settings → what the server is told. In: the section "codefilter". Out: its options.

/** Settings of the extension itself, which the server does not know. */
const OWN = new Set(["server"]);

/** The options that the server is given: those that are set, without the extension's own. */
export function serverOptions(section: unknown): Record<string, unknown> {
  if (typeof section !== "object" || section === null) {
    return {};
  }
  const set = Object.entries(section).filter(([name, value]) => !OWN.has(name) && value !== null);
  return Object.fromEntries(set);
}

/** The languages after one of them was switched on or off. */
export function toggled(languages: Record<string, boolean>, language: string): Record<string, boolean> {
  const isOn = languages[language] ?? languages["*"] ?? true;
  return { ...languages, [language]: !isOn };
}
