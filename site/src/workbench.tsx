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
  const network = view.network as Network;
  const targets = tables.targets;
  const chosen = targets.find((row) => row.name === view.target) ?? targets[0];
  const beside = targets.find((row) => row !== chosen);
  const ask = (target: string | undefined) => target && { ask: "source", network, target };
  const source = useAnswer<Source>("source", ask(chosen?.name) || null);
  const facts = useAnswer<Facts>("network", { ask: "network", network });
  const others = useAnswer<Facts>("other", view.other && { ask: "network", network: view.other });
  const [second, edit] = useState(false);
  const edited = second && view.other ? view.other : network;
  const known = edited === network ? facts : others;
  const other = useAnswer<Source>("beside", (view.both && ask(beside?.name)) || null);
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
            <button type="button" aria-pressed={!second} onClick={() => edit(false)}>
              A
            </button>
            <button type="button" aria-pressed={second} onClick={() => edit(true)}>
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
            onClick={() => (edit(true), show({ ...view, other: network, panel: "compare" }))}
          >
            Compare with another
          </button>
        )}
        <Form
          tables={tables}
          network={edited}
          problems={known.problems}
          values={known.value?.values ?? {}}
          change={(next) =>
            show(edited === network ? { ...view, network: next } : { ...view, other: next })
          }
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
        {chosen && <SourcePane target={chosen} asked={source} />}
        {view.both && beside && <SourcePane target={beside} asked={other} />}
      </div>
      <Panels
        network={network}
        other={view.other}
        target={chosen?.name ?? view.target}
        facts={facts}
        others={others}
        panel={view.panel}
        choose={(panel) => show({ ...view, panel })}
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
