// The ledger: one row for each operation with weights, as the compiler counts them.
import { useEffect } from "preact/hooks";
import { grouped } from "./hooks";
import { about, marking } from "./marks";
import type { Facts, Row } from "./messages";
import { size } from "./steps";

function weights(row: Row): number {
  return Object.values(row.weights).reduce((sum, shape) => {
    return sum + shape.reduce((all, axis) => all * axis, 1);
  }, 0);
}

export function Ledger({ facts }: { facts: Facts }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Ledger" data-region {...marking}>
      <table class="ledger">
        <thead>
          <tr>
            <th>operation</th>
            <th>kind</th>
            <th class="number">values</th>
            <th class="number">MACs</th>
            <th>output</th>
          </tr>
        </thead>
        <tbody>
          {facts.ledger.map((row) => (
            <tr key={row.path} data-keys={row.keys.join("|")} data-row={row.path}>
              <td>{row.path}</td>
              <td>{row.kind.replaceAll("_", " ")}</td>
              <td class="number">{grouped(weights(row))}</td>
              <td class="number">{row.macs ? grouped(row.macs) : ""}</td>
              <td>{size(row.output)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Tells the marks which ledger they are about, whichever panel is open. */
export function useMarks(facts: Facts | undefined): void {
  useEffect(() => about(facts?.ledger ?? []), [facts]);
}
