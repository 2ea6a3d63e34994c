// What is known of a network, beside its file.
import { useMemo, useState } from "preact/hooks";
import { Compared } from "./compared";
import { CostPanel } from "./cost";
import { download, useAnswer, useCopy, type Asked } from "./hooks";
import { Ledger } from "./ledger";
import { marking } from "./marks";
import type { Drawing, Facts, Network, Tables, Text } from "./messages";
import { Notes } from "./notes";
import { PlanPanel } from "./plan";
import { Problems } from "./problems";
import type { Panel } from "./state";
import { Steps } from "./steps";
import { Tabs } from "./tabs";

interface Props {
  network: Network; // the one that the form is about
  pair: [Network, Network] | null;
  target: string;
  facts: Asked<Facts>;
  both: [Asked<Facts>, Asked<Facts>]; // of the pair
  panel: Panel;
  choose: (panel: Panel) => void;
  tables: Tables;
  settings: Record<string, string>;
  set: (settings: Record<string, string>) => void;
}

const NAMES: readonly (readonly [Panel, string])[] = [
  ["drawing", "Drawing"],
  ["steps", "Steps"],
  ["ledger", "Ledger"],
  ["cost", "Cost"],
  ["plan", "Plan"],
  ["advice", "Advice"],
  ["spec", "Spec"],
];

export function Panels(props: Props) {
  const { pair, panel, choose, facts } = props;
  const count = facts.value?.notes.length;
  const known = NAMES.map(([name, title]) => {
    return [name, name === "advice" && count ? `${title} (${count})` : title] as const;
  });
  const names = pair ? [...known, ["compare", "Compare"] as const] : known;
  const chosen = names.some(([name]) => name === panel) ? panel : "drawing";
  return (
    <section class="panels" aria-label="About the network">
      <header>
        <Tabs label="About the network" names={names} chosen={chosen} choose={choose} />
      </header>
      <div
        class={facts.problems.length ? "panel stale" : "panel"}
        id="panel"
        role="tabpanel"
        aria-labelledby={`tab-${chosen}`}
      >
        <Shown {...props} panel={chosen} />
      </div>
    </section>
  );
}

function Shown(props: Props) {
  const { network, pair, target, facts, both, panel } = props;
  if (panel === "drawing") return <Drawn networks={pair ?? [network]} />;
  if (panel === "cost") return <CostPanel {...props} />;
  if (panel === "plan") return <PlanPanel {...props} />;
  if (panel === "spec") return <Spec network={network} />;
  if (!facts.value) return <div class="empty">The compiler is starting.</div>;
  if (panel === "advice") return <Notes notes={facts.value.notes} />;
  if (panel === "ledger") return <Ledger facts={facts.value} />;
  if (panel === "compare" && pair) {
    return <Compared pair={pair} target={target} facts={both} />;
  }
  return <Steps facts={facts.value} />;
}

function Drawn({ networks }: { networks: Network[] }) {
  const asked = useAnswer<Drawing>("drawing", { ask: "drawing", networks });
  const html = useMemo(() => ({ __html: asked.value?.svg ?? "" }), [asked.value]);
  const shown = asked.value;
  const [large, enlarge] = useState(false);
  return (
    <>
      <Problems problems={[]} failure={asked.failure} />
      <div
        class={large ? "drawing large" : "drawing"}
        tabIndex={0}
        role="region"
        aria-label="Drawing"
        data-region
        dangerouslySetInnerHTML={html}
        {...marking}
      />
      {shown && (
        <p class="under">
          <button type="button" aria-pressed={large} onClick={() => enlarge(!large)}>
            Full size
          </button>
          <button type="button" onClick={() => download(shown.file, shown.svg, "image/svg+xml")}>
            Download the drawing
          </button>
        </p>
      )}
    </>
  );
}

function Spec({ network }: { network: Network }) {
  const asked = useAnswer<Text>("spec", { ask: "spec", network });
  const text = asked.value?.text ?? "";
  const [word, copy] = useCopy(text);
  return (
    <>
      <p class="under">
        <span>The whole network as a file to edit; drop it on the page to go on from it.</span>
        <span class="grow" />
        <button type="button" onClick={copy}>
          {word}
        </button>
        <button
          type="button"
          onClick={() => asked.value && download(asked.value.file, text, "application/toml")}
        >
          Download
        </button>
      </p>
      <Problems problems={[]} failure={asked.failure} />
      <pre class="code spec" tabIndex={0} role="region" aria-label="Spec">
        {text}
      </pre>
    </>
  );
}
