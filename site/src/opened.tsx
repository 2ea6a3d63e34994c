// What was in the files that somebody dropped.
import { useEffect } from "preact/hooks";
import { Diff } from "./diff";
import type { Asked } from "./hooks";
import type { Dropped, Network } from "./messages";
import { Problems } from "./problems";

interface Props {
  names: string[];
  asked: Asked<Dropped>;
  close: () => void;
  open: (network: Network, target?: string) => void;
}

const SAYS: Record<string, string> = {
  clean: "as it was emitted, and as this version emits it",
  reformatted: "as it was emitted, but for its layout",
};

export function Opened({ names, asked, close, open }: Props) {
  const found = asked.problems.length || asked.waiting ? undefined : asked.value;
  const only = found?.networks.length === 1 ? found.networks[0] : undefined;
  useEffect(() => {
    if (only) open(only.network, only.network.target);
  }, [only]);
  return (
    <aside class="opened" aria-label="Opened file" aria-live="polite">
      <div class="line">
        <strong>{names.join(" and ")}</strong>
        {asked.waiting && <span>is being read.</span>}
        {found?.state && <span class={`badge ${found.state.replaceAll(" ", "-")}`}>{found.state}</span>}
        {found?.state && <span>{found.note || SAYS[found.state]}</span>}
        {found?.kind === "spec" && <span>is a spec; edit it beside its file.</span>}
        {found?.kind === "plans" && (
          <span>
            {only ? "holds one network of nnU-Net." : "holds networks of nnU-Net. Choose one:"}
          </span>
        )}
        {found &&
          !only &&
          found.networks.map(({ label, network }) => (
            <button key={label} type="button" onClick={() => open(network)}>
              {label}
            </button>
          ))}
        <span class="grow" />
        <button type="button" onClick={close} aria-label="Close the note about the file">
          Close
        </button>
      </div>
      <Problems problems={asked.problems} failure={asked.failure} />
      {found?.diff && (
        <details>
          <summary>What was changed</summary>
          <Diff text={found.diff} />
        </details>
      )}
    </aside>
  );
}
