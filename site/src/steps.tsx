// The network step by step, with the share that each has of parameters and MACs.
import { grouped, short } from "./hooks";
import type { Facts } from "./messages";
import { marking } from "./marks";

export const size = (shape: number[]): string => shape.join(" x ");

export function Steps({ facts }: { facts: Facts }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Steps" data-region {...marking}>
      <table>
        <thead>
          <tr>
            <th>step</th>
            <th>output</th>
            <th class="number">parameters</th>
            <th class="bar">share</th>
            <th class="number">MACs</th>
            <th class="bar">share</th>
          </tr>
        </thead>
        <tbody>
          {facts.steps.map((step) => (
            <tr key={step.name} data-keys={`step ${step.name}`}>
              <td>{step.name}</td>
              <td>{size(step.output)}</td>
              <Share value={step.parameters} of={facts.parameters.trainable} />
              <Share value={step.macs} of={facts.macs} />
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th>all</th>
            <td>{size(facts.output)}</td>
            <td class="number">{grouped(facts.parameters.trainable)}</td>
            <td />
            <td class="number">{grouped(facts.macs)}</td>
            <td />
          </tr>
        </tfoot>
      </table>
    </div>
  );
}

function Share({ value, of }: { value: number; of: number }) {
  return (
    <>
      <td class="number" title={grouped(value)}>
        {short(value)}
      </td>
      <Amount value={value} of={of} />
    </>
  );
}

/** A share as a bar. */
export function Amount({ value, of }: { value: number; of: number }) {
  const share = (of ? (100 * value) / of : 0).toFixed(1);
  return (
    <td class="bar">
      <span class="amount" style={{ width: `${share}%` }} />
      <span class="percent">{share} %</span>
    </td>
  );
}
