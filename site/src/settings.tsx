// What a cost depends on beside the network: the batch, the precision, the optimizer.
import { useId } from "preact/hooks";
import type { Asked } from "./hooks";
import type { Facts, Network, Problem, Tables } from "./messages";
import { Told } from "./problems";

/** A panel whose answer depends on settings. */
export interface WithSettings {
  tables: Tables;
  network: Network;
  settings: Record<string, string>;
  set: (settings: Record<string, string>) => void;
  facts: Asked<Facts>;
}

interface Props {
  of: string; // the panel
  tables: Tables;
  problems: Problem[];
  settings: Record<string, string>;
  set: (settings: Record<string, string>) => void;
}

/** The problems that stand neither beside a setting nor beside a field of the form. */
export function elsewhere(problems: Problem[], tables: Tables, told: Problem[]): Problem[] {
  const names = tables.settings.map((row) => row.name);
  return problems.filter(
    (problem) =>
      !problem.fields.some((field) => names.includes(field)) &&
      !told.some((other) => other.message === problem.message),
  );
}

const HINTS: Record<string, string> = { shape: "40,512,512", spacing: "5,1.5,1.5" };

export function Settings({ of, tables, problems, settings, set }: Props) {
  return (
    <form class="settings" onSubmit={(event) => event.preventDefault()} aria-label="Settings">
      {tables.settings.filter((row) => row.of.includes(of)).map(({ name, usual, choices }) => (
        <Setting
          key={name}
          name={name}
          usual={usual || (HINTS[name] ?? (of === "cost" ? "1" : "1, 2, 4, 8"))}
          choices={choices}
          value={settings[name] ?? ""}
          problems={problems.filter((problem) => problem.fields.includes(name))}
          set={(value) => set({ ...settings, [name]: value })}
        />
      ))}
    </form>
  );
}

interface SettingProps {
  name: string;
  usual: string;
  choices: string[];
  value: string;
  problems: Problem[];
  set: (value: string) => void;
}

function Setting({ name, usual, choices, value, problems, set }: SettingProps) {
  const id = useId();
  const wrong = problems.length > 0;
  return (
    <div class={wrong ? "setting wrong" : "setting"} data-field={name}>
      <label for={id}>{name}</label>
      {choices.length ? (
        <select id={id} value={value} onChange={(event) => set(event.currentTarget.value)}>
          <option value="">{choices[0]}</option>
          {choices.slice(1).map((choice) => (
            <option key={choice} value={choice}>
              {choice}
            </option>
          ))}
        </select>
      ) : (
        <input
          id={id}
          type="text"
          value={value}
          placeholder={usual}
          aria-invalid={wrong}
          onInput={(event) => set(event.currentTarget.value)}
        />
      )}
      <div class="errors" role={wrong ? "alert" : undefined}>
        {problems.map((problem) => (
          <Told key={problem.message} problem={problem} />
        ))}
      </div>
    </div>
  );
}
