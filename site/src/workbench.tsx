// One network: its form, its files, and what is known of it.
import { useEffect, useState } from "preact/hooks";
import { Form } from "./form";
import { grouped, short, useAnswer } from "./hooks";
import { useMarks } from "./ledger";
import type { Facts, Network, Source, Tables } from "./messages";
import { Panels } from "./panels";
import { SourcePane } from "./source";
import { type View } from "./state";

interface Props {
  tables: Tables;
  view: View;
  show: (view: View, step?: boolean) => void;
}

export function Workbench({ tables, view, show }: Props) {
  const [second, edit] = useState(false);
  const first = view.network as Network;
  const other = second ? view.other : null;
  const network = other ?? first; // the one that the form is about
  const targets = tables.targets;
  const chosen = targets.find((row) => row.name === view.target) ?? targets[0];
  const beside = targets.find((row) => row !== chosen);
  const ask = (target: string | undefined) => target && { ask: "source", network, target };
  const source = useAnswer<Source>("source", ask(chosen?.name) || null);
  const a = useAnswer<Facts>("network", { ask: "network", network: first });
  const b = useAnswer<Facts>("other", view.other && { ask: "network", network: view.other });
  const facts = other ? b : a;
  const others = useAnswer<Source>("beside", (view.both && ask(beside?.name)) || null);
  const change = (next: Network) =>
    show(other ? { ...view, other: next } : { ...view, network: next });
  useMarks(facts.value);
  useEffect(() => {
    if (facts.value) document.title = `${facts.value.title} - plainnet`;
    return () => {
      document.title = "plainnet";
    };
  }, [facts.value]);
  const mode = view.both ? "both" : view.target;
  return (
    <main class={view.both ? "bench both" : "bench"}>
      <aside class="side">
        {view.other ? (
          <div class="choice sides" role="group" aria-label="Which network the form is about">
            <button type="button" aria-pressed={!other} onClick={() => edit(false)}>
              A
            </button>
            <button type="button" aria-pressed={!!other} onClick={() => edit(true)}>
              B
            </button>
            <span class="grow" />
            <button type="button" onClick={() => (edit(false), show({ ...view, other: null }))}>
              Stop comparing
            </button>
          </div>
        ) : (
          <button
            type="button"
            class="compare"
            onClick={() => (edit(true), show({ ...view, other: first, panel: "compare" }))}
          >
            Compare with another
          </button>
        )}
        <Form
          key={other ? "B" : "A"}
          tables={tables}
          network={network}
          problems={facts.problems}
          values={facts.value?.values ?? {}}
          change={change}
        />
      </aside>
      <div class="heading">
        <h1>{facts.value?.title ?? network.model}</h1>
        {facts.value && <Summary facts={facts.value} />}
        <div class="choice" role="group" aria-label="Target">
          {targets.map((row) => (
            <button
              key={row.name}
              type="button"
              aria-pressed={mode === row.name}
              onClick={() => show({ ...view, target: row.name, both: false })}
            >
              {row.title}
            </button>
          ))}
          <button
            type="button"
            aria-pressed={view.both}
            onClick={() => show({ ...view, both: true })}
          >
            Side by side
          </button>
        </div>
      </div>
      <div class="files">
        {chosen && <SourcePane target={chosen} asked={source} told={facts.problems} />}
        {view.both && beside && <SourcePane target={beside} asked={others} told={facts.problems} />}
      </div>
      <Panels
        network={network}
        pair={view.other && [first, view.other]}
        target={chosen?.name ?? view.target}
        facts={facts}
        both={[a, b]}
        panel={view.panel}
        choose={(panel) => show({ ...view, panel })}
        tables={tables}
        settings={view.settings}
        set={(settings) => show({ ...view, settings })}
      />
    </main>
  );
}

function Summary({ facts }: { facts: Facts }) {
  return (
    <p class="facts">
      {facts.dims}D, {facts.input_shape.join(" x ")} to {facts.output.join(" x ")},{" "}
      <span title={grouped(facts.parameters.trainable)}>
        {short(facts.parameters.trainable)} parameters
      </span>
      , <span title={grouped(facts.macs)}>{short(facts.macs)} MACs</span>
    </p>
  );
}
