// VS Code's settings → what the server is told. In: the section "codefilter". Out: its options.

/** Settings of the extension itself, which the server does not know. */
const OWN = new Set(["server"]);

/** The options that the server is given, without the extension's own; null takes back what was set before. */
export function serverOptions(section: unknown): Record<string, unknown> {
  if (typeof section !== "object" || section === null) {
    return {};
  }
  return Object.fromEntries(Object.entries(section).filter(([name]) => !OWN.has(name)));
}

/** The languages after one of them was switched on or off. */
export function toggled(languages: Record<string, boolean>, language: string): Record<string, boolean> {
  const isOn = languages[language] ?? languages["*"] ?? true;
  return { ...languages, [language]: !isOn };
}
