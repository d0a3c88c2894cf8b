// What the server says about an answer → rows of the attribution view. In: `codefilter.explain`. Out: rows.

export interface ExplainedChunk {
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

/** The view's rows: what came of the request, then every chunk with its verdict, then the time. */
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
  return [head, ...explanation.chunks.map(rowOf), time];
}

function rowOf(chunk: ExplainedChunk): Row {
  const verdict = chunk.in_prompt ? "used" : "dropped";
  return {
    label: `${chunk.path}:${chunk.start_line}-${chunk.end_line}`,
    description: [chunk.symbol, verdict, chunk.reason].filter(Boolean).join(" · "),
    tooltip: chunk.text,
    icon: chunk.in_prompt ? "check" : "close",
    chunk,
  };
}
