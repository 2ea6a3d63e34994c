// Two networks beside each other: their figures, and the difference of their files.
import { grouped, useAnswer, type Asked } from "./hooks";
import type { Facts, Network, Text } from "./messages";
import { Diff } from "./diff";
import { Problems } from "./problems";
import { size } from "./steps";

interface Props {
  network: Network;
  other: Network;
  target: string;
  facts: Asked<Facts>;
  others: Asked<Facts>;
}

export function Compared({ network, other, target, facts, others }: Props) {
  const asked = useAnswer<Text>("compare", { ask: "compare", network, other, target });
  const [first, second] = [facts.value, others.value];
  if (!first || !second) return <Problems problems={others.problems} failure={others.failure} />;
  const names = [...new Set([...first.steps, ...second.steps].map((step) => step.name))];
  const rows = names.map((name) => {
    const steps = [first, second].map((side) => side.steps.find((step) => step.name === name));
    return { name, steps };
  });
  return (
    <div class="compared">
      <Problems problems={[...others.problems, ...asked.problems]} failure={asked.failure} />
      <div class="scroll" tabIndex={0} role="region" aria-label="Figures of both networks">
        <table>
          <thead>
            <tr>
              <th />
              <th colSpan={2} class="number">
                parameters
              </th>
              <th colSpan={2} class="number">
                MACs
              </th>
              <th colSpan={2}>output</th>
            </tr>
            <tr>
              <th>step</th>
              {[1, 2, 3].flatMap((key) => [
                <th key={`a${key}`} class={key < 3 ? "number" : ""}>
                  A
                </th>,
                <th key={`b${key}`} class={key < 3 ? "number" : ""}>
                  B
                </th>,
              ])}
            </tr>
          </thead>
          <tbody>
            {rows.map(({ name, steps: [a, b] }) => (
              <tr key={name}>
                <td>{name}</td>
                <Pair a={a?.parameters} b={b?.parameters} />
                <Pair a={a?.macs} b={b?.macs} />
                <td>{a ? size(a.output) : ""}</td>
                <td>{b ? size(b.output) : ""}</td>
              </tr>
            ))}
          </tbody>
          <tfoot>
            <tr>
              <th>all</th>
              <Pair a={first.parameters.trainable} b={second.parameters.trainable} />
              <Pair a={first.macs} b={second.macs} />
              <td>{size(first.output)}</td>
              <td>{size(second.output)}</td>
            </tr>
          </tfoot>
        </table>
      </div>
      {asked.value && <Diff text={asked.value.text || "The two files are the same."} />}
    </div>
  );
}

function Pair({ a, b }: { a: number | undefined; b: number | undefined }) {
  const way = a === undefined || b === undefined || a === b ? "" : b > a ? "more" : "less";
  return (
    <>
      <td class="number">{a === undefined ? "" : grouped(a)}</td>
      <td class={`number ${way}`}>{b === undefined ? "" : grouped(b)}</td>
    </>
  );
}
