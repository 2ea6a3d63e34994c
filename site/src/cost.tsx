// What it takes to train and to run the network, in bytes.
import { grouped, memory, useAnswer } from "./hooks";
import { marking } from "./marks";
import type { Cost } from "./messages";
import { elsewhere, Settings, type WithSettings } from "./settings";
import { Problems } from "./problems";
import { Amount, size } from "./steps";

export function CostPanel({ tables, network, settings, set, facts }: WithSettings) {
  const told = facts.problems;
  const asked = useAnswer<Cost>("cost", { ask: "cost", network, settings });
  const own = elsewhere(asked.problems, tables, told);
  const cost = asked.value;
  return (
    <>
      <Settings of="cost" tables={tables} problems={asked.problems} settings={settings} set={set} />
      <Problems problems={own} failure={asked.failure} />
      {cost && (
        <div
          class={asked.problems.length ? "scroll stale" : "scroll"}
          tabIndex={0}
          role="region"
          aria-label="Cost"
          data-region
          {...marking}
        >
          <Parts cost={cost} />
          {cost.saved > 0 && <Saved cost={cost} />}
        </div>
      )}
    </>
  );
}

function Parts({ cost }: { cost: Cost }) {
  const training: [string, number][] = [
    ["gradients of weights", cost.gradients],
    [`state of ${cost.optimizer}`, cost.optimizer_state],
    ["saved for the backward pass", cost.saved],
    ["tensors at the peak of training", cost.activations],
    ["training, at its peak", cost.training],
  ];
  const rows: [string, number][] = [
    ["weights and statistics", cost.weights],
    ...(cost.training ? training : []),
    ["inference, at its peak", cost.inference],
  ];
  const most = Math.max(cost.training, cost.inference);
  return (
    <table>
      <thead>
        <tr>
          <th>memory</th>
          <th class="number">bytes</th>
          <th class="bar" />
        </tr>
      </thead>
      <tbody>
        {rows.map(([name, bytes]) => (
          <tr key={name} class={name.includes("at its peak") ? "sum" : ""}>
            <td>{name}</td>
            <td class="number" title={grouped(bytes)}>
              {memory(bytes)}
            </td>
            <Amount value={bytes} of={most} />
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Saved({ cost }: { cost: Cost }) {
  return (
    <table>
      <thead>
        <tr>
          <th>saved by</th>
          <th>output</th>
          <th class="number">bytes</th>
          <th class="bar">share</th>
        </tr>
      </thead>
      <tbody>
        {cost.steps.map((step) => (
          <tr key={step.name} data-keys={`step ${step.name}`}>
            <td>{step.name}</td>
            <td>{size(step.output)}</td>
            <td class="number" title={grouped(step.saved)}>
              {memory(step.saved)}
            </td>
            <Amount value={step.saved} of={cost.saved} />
          </tr>
        ))}
      </tbody>
    </table>
  );
}
