// What the page and the worker say to each other, and what the compiler's answers hold.
export interface ToWorker {
  id: number;
  question: string;
}
export type FromWorker =
  | { progress: number }
  | { ready: true }
  | { failure: string }
  | { id: number; text: string };

export interface Problem {
  message: string;
  at: string;
  hint: string;
  fields: string[];
}
export interface Answer<T> {
  answer?: T;
  problems?: Problem[];
  failure?: string;
}

export type Options = Record<string, string | true>;
export interface Network {
  model?: string;
  spec?: string;
  options: Options;
}

export interface Field {
  name: string;
  flag: string;
  kind: "count" | "counts" | "axes" | "share" | "shape" | "choice" | "flag" | "text";
  help: string;
  choices: string[];
  of: string[];
  encoders: string[];
}
export interface Named {
  name: string;
  title: string;
}
export interface Tables {
  version: string;
  targets: Named[];
  encoders: (Named & { family: string; head: string })[];
  segmentors: Named[];
  fields: Field[];
  settings: { name: string; usual: string; choices: string[]; of: string[] }[];
}
export interface Piece {
  group: string;
  title: string;
  dims: number;
  network: Network;
  parameters: number;
  macs: number;
  drawing: string;
}
export interface Catalog {
  form: Tables;
  gallery: Piece[];
}

export interface Step {
  name: string;
  output: number[];
  parameters: number;
  macs: number;
}
export interface Row {
  path: string;
  kind: string;
  weights: Record<string, number[]>;
  output: number[];
  macs: number;
  keys: string[];
}
export interface Note {
  kind: string;
  message: string;
  hint: string;
  steps: string[];
}
export interface Facts {
  model: string;
  title: string;
  dims: number;
  input_shape: number[];
  parameters: { trainable: number; non_trainable: number };
  macs: number;
  output: number[];
  head: string;
  custom: boolean;
  notes: Note[];
  values: Record<string, string>;
  steps: Step[];
  ledger: Row[];
}
export interface Source {
  target: string;
  text: string;
  file: string;
  command: string;
  call: string;
  lines: Record<string, string[]>;
}
export interface Dropped {
  kind: "spec" | "emitted" | "plans";
  name: string;
  networks: { label: string; network: Network & { target?: string } }[];
  state?: string;
  note?: string;
  diff?: string;
}
export interface Drawing {
  svg: string;
  file: string;
}
export interface Text {
  text: string;
  file: string;
}
export interface Cost {
  batch: number;
  precision: string;
  optimizer: string;
  weights: number;
  gradients: number;
  optimizer_state: number;
  saved: number;
  activations: number;
  training: number;
  inference: number;
  steps: { name: string; output: number[]; saved: number }[];
}
export interface Choice {
  batch: number;
  patch: number[];
  weights: number;
  gradients: number;
  optimizer_state: number;
  saved: number;
  tensors: number;
  margin: number;
  total: number;
}
export interface Fit {
  largest: Choice | null;
  next: Choice | null;
}
export interface Plan {
  memory: number;
  precision: string;
  optimizer: string;
  divisors: number[];
  training: Fit[];
  inference: Fit[];
  notes: Note[];
}
