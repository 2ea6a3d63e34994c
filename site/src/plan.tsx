// Which patches and batches fit into a memory, and the next larger ones, which do not.
import { grouped, memory, useAnswer } from "./hooks";
import type { Choice, Fit, Plan } from "./messages";
import { Notes } from "./notes";
import { Problems } from "./problems";
import { elsewhere, Settings, type WithSettings } from "./settings";
import { size } from "./steps";

export function PlanPanel({ tables, network, settings, set, facts }: WithSettings) {
  const asked = useAnswer<Plan>("plan", { ask: "plan", network, settings });
  const own = elsewhere(asked.problems, tables, facts.problems);
  const plan = asked.value;
  const stale = asked.waiting || asked.problems.length > 0;
  return (
    <>
      <Settings of="plan" tables={tables} problems={asked.problems} settings={settings} set={set} />
      <Problems problems={own} failure={asked.failure} />
      {!plan && !stale && <div class="empty" />}
      {!plan && asked.waiting && <div class="empty">Looking for what fits.</div>}
      {plan && (
        <div
          class={stale ? "scroll stale" : "scroll"}
          tabIndex={0}
          role="region"
          aria-label="Plan"
          aria-busy={asked.waiting}
        >
          {plan.training.length > 0 && (
            <Fits title={`Training with ${plan.optimizer}, ${plan.precision}`} fits={plan.training} />
          )}
          <Fits title={`Inference, ${plan.precision}`} fits={plan.inference} />
          {plan.notes.length > 0 && <Notes notes={plan.notes} />}
          <p class="under">
            The memory is {memory(plan.memory)}. Patches are multiples of {size(plan.divisors)}. The
            margin is an allowance for the workspace of kernels; all else is counted.
          </p>
        </div>
      )}
    </>
  );
}

const PARTS: [keyof Choice, string][] = [
  ["weights", "weights"],
  ["gradients", "gradients"],
  ["optimizer_state", "optimizer"],
  ["saved", "saved"],
  ["margin", "margin"],
];

function Fits({ title, fits }: { title: string; fits: Fit[] }) {
  const rows = fits.flatMap((fit) => [
    ...(fit.largest ? [{ choice: fit.largest, fits: true }] : []),
    ...(fit.next ? [{ choice: fit.next, fits: false }] : []),
  ]);
  return (
    <table class="plan">
      <caption>{title}</caption>
      <thead>
        <tr>
          <th />
          <th class="number">batch</th>
          <th>patch</th>
          <th class="number">total</th>
          {PARTS.map(([part, name]) => (
            <th key={part} class="number">
              {name}
            </th>
          ))}
          <th class="number">other tensors</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(({ choice, fits: does }) => (
          <tr key={`${choice.batch} ${size(choice.patch)}`} class={does ? "fits" : "not"}>
            <td>{does ? "fits" : "does not fit"}</td>
            <td class="number">{choice.batch}</td>
            <td>{size(choice.patch)}</td>
            <Bytes value={choice.total} />
            {PARTS.map(([part]) => (
              <Bytes key={part} value={choice[part] as number} />
            ))}
            <Bytes value={choice.tensors - choice.saved} />
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Bytes({ value }: { value: number }) {
  return (
    <td class="number" title={grouped(value)}>
      {value ? memory(value) : ""}
    </td>
  );
}
