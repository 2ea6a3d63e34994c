// What the page shows, and the same as the address: a link is a network.
import type { Network, Options } from "./messages";

export const PANELS = ["drawing", "steps", "ledger", "cost", "plan", "advice", "spec", "compare"] as const;
export type Panel = (typeof PANELS)[number];

export interface View {
  network: Network | null; // null is the gallery
  other: Network | null; // what the network is compared with
  target: string;
  both: boolean; // two targets side by side
  panel: Panel;
  settings: Record<string, string>; // of a run: its batch, its precision
}

export const GALLERY: View = {
  network: null,
  other: null,
  target: "torch",
  both: false,
  panel: "drawing",
  settings: {},
};
const RUN = "run."; // what settings begin with in an address
const OWN = new Set(["model", "spec", "target", "show", "panel", "with"]);
const TRUE = "yes";

/** The fragment of a view's address; "" for the gallery. */
export async function written(view: View): Promise<string> {
  if (!view.network) return "";
  const words = await wordsOf(view.network);
  words.set("target", view.target);
  if (view.both) words.set("show", "both");
  if (view.panel !== GALLERY.panel) words.set("panel", view.panel);
  for (const [name, value] of Object.entries(view.settings)) {
    if (value) words.set(RUN + name, value);
  }
  if (view.other) words.set("with", (await wordsOf(view.other)).toString());
  return `#${words.toString()}`;
}

/** The view of an address; what it does not say is as in the gallery. */
export async function read(fragment: string): Promise<View> {
  const words = new URLSearchParams(fragment.replace(/^#/, ""));
  const network = await networkOf(words);
  if (!network) return GALLERY;
  const other = words.get("with");
  const panel = PANELS.find((name) => name === words.get("panel")) ?? GALLERY.panel;
  return {
    network,
    other: other ? await networkOf(new URLSearchParams(other)) : null,
    target: words.get("target") ?? GALLERY.target,
    both: words.get("show") === "both",
    panel,
    settings: Object.fromEntries(
      [...words]
        .filter(([name]) => name.startsWith(RUN))
        .map(([name, value]) => [name.slice(RUN.length), value]),
    ),
  };
}

async function wordsOf(network: Network): Promise<URLSearchParams> {
  const words = new URLSearchParams();
  if (network.spec) words.set("spec", await packed(network.spec));
  else words.set("model", network.model ?? "");
  for (const [name, value] of Object.entries(network.options)) {
    words.set(name, value === true ? TRUE : value);
  }
  return words;
}

async function networkOf(words: URLSearchParams): Promise<Network | null> {
  const options: Options = {};
  for (const [name, value] of words) {
    if (!OWN.has(name) && !name.startsWith(RUN)) options[name] = value === TRUE ? true : value;
  }
  const spec = words.get("spec");
  if (spec) return { spec: await unpacked(spec), options };
  const model = words.get("model");
  return model === null ? null : { model, options };
}

async function through(bytes: Uint8Array<ArrayBuffer>, stream: GenericTransformStream) {
  const piped = new Blob([bytes]).stream().pipeThrough(stream as ReadableWritablePair);
  return new Uint8Array(await new Response(piped).arrayBuffer());
}

async function packed(text: string): Promise<string> {
  const bytes = await through(
    new TextEncoder().encode(text),
    new CompressionStream("deflate-raw"),
  );
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

async function unpacked(text: string): Promise<string> {
  try {
    const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(plain, (character) => character.charCodeAt(0));
    return new TextDecoder().decode(await through(bytes, new DecompressionStream("deflate-raw")));
  } catch {
    return "# The address of this page was cut off: the spec in it cannot be read.\n";
  }
}

/** The head of a network, as the tables name it in `Field.of`. */
export function headOf(network: Network, heads: Map<string, string>): string {
  if (network.options["features_only"]) return "";
  const chosen = network.options["segmentor"];
  return typeof chosen === "string" ? chosen : (heads.get(network.model ?? "") ?? "classifier");
}
