// Two networks beside each other: their figures, and the difference of their files.
import { grouped, short, useAnswer, type Asked } from "./hooks";
import type { Facts, Network, Text } from "./messages";
import { Diff } from "./diff";
import { Problems } from "./problems";
import { size } from "./steps";

interface Props {
  pair: [Network, Network];
  target: string;
  facts: [Asked<Facts>, Asked<Facts>];
}

export function Compared({ pair: [network, other], target, facts: [a, b] }: Props) {
  const asked = useAnswer<Text>("compare", { ask: "compare", network, other, target });
  const [first, second] = [a.value, b.value];
  const problems = [...a.problems, ...b.problems];
  if (!first || !second) return <Problems problems={problems} failure={a.failure || b.failure} />;
  const names = [...new Set([...first.steps, ...second.steps].map((step) => step.name))];
  const rows = names.map((name) => {
    const steps = [first, second].map((side) => side.steps.find((step) => step.name === name));
    return { name, steps };
  });
  return (
    <div class="compared">
      <p class="under">
        <span>
          <b>A</b> {first.title}, {first.dims}D
        </span>
        <span>
          <b>B</b> {second.title}, {second.dims}D
        </span>
      </p>
      <Problems problems={asked.problems} failure={asked.failure} />
      <div class="scroll" tabIndex={0} role="region" aria-label="Figures of both networks">
        <table>
          <thead>
            <tr>
              <th>step</th>
              {["parameters", "MACs", "output"].flatMap((what) =>
                ["A", "B"].map((side) => (
                  <th key={what + side} class={what === "output" ? "" : "number"}>
                    {side === "A" ? `${what} A` : side}
                  </th>
                )),
              )}
            </tr>
          </thead>
          <tbody>
            {rows.map(({ name, steps: [left, right] }) => (
              <tr key={name}>
                <td>{name}</td>
                <Pair a={left?.parameters} b={right?.parameters} />
                <Pair a={left?.macs} b={right?.macs} />
                <td>{left ? size(left.output) : ""}</td>
                <td>{right ? size(right.output) : ""}</td>
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
      <Count value={a} way="" />
      <Count value={b} way={way} />
    </>
  );
}

function Count({ value, way }: { value: number | undefined; way: string }) {
  if (value === undefined) return <td />;
  return (
    <td class={`number ${way}`} title={grouped(value)}>
      {short(value)}
    </td>
  );
}
