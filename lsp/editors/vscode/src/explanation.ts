// What the server says about an answer → rows of the attribution view. In: `codefilter.explain`. Out: rows.

export interface ExplainedChunk {
  id: string;
  path: string;
  start_line: number;
  end_line: number;
  symbol: string | null;
  text: string;
  in_prompt: boolean;
  keep: boolean;
  polarity: string;
  confidence: number;
  reason: string;
  /** Nats per token that the chunk alone adds to the likelihood of the text; null until that was measured. */
  impact_nats: number | null;
}

export interface Explanation {
  id: string;
  place: string;
  uri: string;
  texts: string[];
  summary: string;
  reason: string;
  seconds: number;
  stage_seconds?: Record<string, number>;
  chunks: ExplainedChunk[];
}

export interface Row {
  label: string;
  description: string;
  tooltip: string;
  icon: string;
  chunk?: ExplainedChunk;
}

/**
 * The view's rows: what came of the request, then every chunk with its verdict, those first that did most for the
 * text once that was measured, then the time.
 */
export function rowsOf(explanation: Explanation): Row[] {
  const head: Row = {
    label: explanation.place,
    description: explanation.summary,
    tooltip: explanation.texts.join("\n\n") || explanation.reason,
    icon: explanation.texts.length > 0 ? "sparkle" : "circle-slash",
  };
  const stages = Object.entries(explanation.stage_seconds ?? {});
  const time: Row = {
    label: `${explanation.seconds.toFixed(2)} s`,
    description: stages.map(([stage, seconds]) => `${stage} ${seconds.toFixed(2)}`).join(" · "),
    tooltip: "From request to answer, and the time that each stage took for the model's answer",
    icon: "clock",
  };
  const chunks = [...explanation.chunks].sort((a, b) => (b.impact_nats ?? 0) - (a.impact_nats ?? 0));
  return [head, ...chunks.map(rowOf), time];
}

function rowOf(chunk: ExplainedChunk): Row {
  const verdict = chunk.in_prompt ? "used" : "dropped";
  const impact = chunk.impact_nats === null ? "" : signed(chunk.impact_nats);
  return {
    label: `${chunk.path}:${chunk.start_line}-${chunk.end_line}`,
    description: [impact, chunk.symbol, verdict, chunk.reason].filter(Boolean).join(" · "),
    tooltip: chunk.text,
    icon: chunk.in_prompt ? "check" : "close",
    chunk,
  };
}

/** An impact as people read it: nats per token, with its sign. */
function signed(nats: number): string {
  return `${nats >= 0 ? "+" : "−"}${Math.abs(nats).toFixed(2)} nats`;
}
