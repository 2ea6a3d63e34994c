// The form, which follows from the compiler's tables: a new option is a new field.
import { useId, useState } from "preact/hooks";
import type { Field, Network, Options, Problem, Tables } from "./messages";
import { Told } from "./problems";
import { headOf } from "./state";

interface Props {
  tables: Tables;
  network: Network;
  problems: Problem[];
  values: Record<string, string>; // what the options come to
  change: (network: Network) => void;
}

const FIRST = ["segmentor", "encoder_depth", "dims", "input_shape", "in_channels", "num_classes"];
const FAMILIES: Record<string, string> = {
  senet: "With squeeze-and-excitation",
  resnet: "ResNet and ResNeXt",
  nnunet: "nnU-Net",
};

export function Form({ tables, network, problems, values, change }: Props) {
  const heads = new Map(tables.encoders.map((encoder) => [encoder.name, encoder.head]));
  const head = headOf(network, heads);
  const told = (name: string): Problem[] => problems.filter((p) => p.fields.includes(name));
  const used = (field: Field): boolean =>
    network.options[field.name] !== undefined || told(field.name).length > 0;
  const fits = (field: Field): boolean =>
    (!field.of.length || field.of.includes(head)) &&
    (!field.encoders.length || field.encoders.includes(network.model ?? ""));
  const shown = tables.fields.filter((field) => fits(field) || used(field));
  const names = tables.fields.map((field) => field.name);
  const strangers = Object.keys(network.options).filter((name) => !names.includes(name));
  const first = FIRST.flatMap((name) => shown.filter((field) => field.name === name));
  const rest = shown.filter((field) => !FIRST.includes(field.name));
  const own = rest.filter((field) => field.of.length || field.encoders.length);
  const others = rest.filter((field) => !own.includes(field));

  function set(name: string, value: string | true): void {
    const options = changed(network.options, name, value);
    const next = { ...network, options };
    const after = headOf(next, heads);
    if (after !== head) {
      for (const field of tables.fields) {
        if (field.of.length && !field.of.includes(after)) delete options[field.name];
      }
    }
    if (name === "dims" && options["input_shape"]) delete options["input_shape"];
    change(next);
  }

  const [opened, open] = useState(false);
  const entry = (field: Field) => (
    <Entry
      key={field.name}
      field={field}
      value={network.options[field.name]}
      usual={values[field.name] ?? ""}
      problems={told(field.name)}
      set={(value) => set(field.name, value)}
    />
  );
  const title = tables.segmentors.find((row) => row.name === head)?.title ?? "Head";
  return (
    <form class="form" onSubmit={(event) => event.preventDefault()} aria-label="Options">
      <fieldset>
        <legend>Network</legend>
        <Encoder tables={tables} network={network} problems={told("model")} change={change} />
        {first.map(entry)}
        {strangers.map((name) => entry(stranger(name)))}
      </fieldset>
      {own.length > 0 && (
        <fieldset>
          <legend>{title}</legend>
          {own.map(entry)}
        </fieldset>
      )}
      <details
        open={opened || others.some(used)}
        onToggle={(event) => open(event.currentTarget.open)}
      >
        <summary>More options</summary>
        {others.map(entry)}
      </details>
    </form>
  );
}

/** What an address says that is no option: a field, so that one can empty it. */
const stranger = (name: string): Field => ({
  name,
  flag: name,
  kind: "text",
  help: "This is not an option. Empty the field to leave it out.",
  choices: [],
  of: [],
  encoders: [],
});

function changed(options: Options, name: string, value: string | true): Options {
  const next = { ...options };
  if (value === "") delete next[name];
  else next[name] = value;
  return next;
}

function Encoder({ tables, network, problems, change }: Omit<Props, "values">) {
  const id = useId();
  const errors = `${id}-errors`;
  if (network.spec !== undefined) {
    return (
      <div class={problems.length ? "entry wide wrong" : "entry wide"} data-field="model">
        <label for={id}>spec</label>
        <textarea
          id={id}
          rows={12}
          spellcheck={false}
          value={network.spec}
          aria-invalid={problems.length > 0}
          aria-describedby={errors}
          onInput={(event) => change({ ...network, spec: event.currentTarget.value })}
        />
        <Errors id={errors} problems={problems} />
      </div>
    );
  }
  const families = [...new Set(tables.encoders.map((encoder) => encoder.family))];
  const known = tables.encoders.some((encoder) => encoder.name === network.model);
  return (
    <div class={problems.length ? "entry wide wrong" : "entry wide"} data-field="model">
      <label for={id}>encoder</label>
      <select
        id={id}
        value={network.model}
        aria-invalid={problems.length > 0}
        aria-describedby={errors}
        onChange={(event) => change({ ...network, model: event.currentTarget.value })}
      >
        {!known && <option value={network.model}>{network.model}</option>}
        {families.map((family) => (
          <optgroup key={family} label={FAMILIES[family] ?? family}>
            {tables.encoders
              .filter((encoder) => encoder.family === family)
              .map((encoder) => (
                <option key={encoder.name} value={encoder.name}>
                  {encoder.title}
                </option>
              ))}
          </optgroup>
        ))}
      </select>
      <Errors id={errors} problems={problems} />
    </div>
  );
}

interface EntryProps {
  field: Field;
  value: string | true | undefined;
  usual: string;
  problems: Problem[];
  set: (value: string | true) => void;
}

function Entry({ field, value, usual, problems, set }: EntryProps) {
  const id = useId();
  const help = `${id}-help`;
  const errors = `${id}-errors`;
  const wrong = problems.length > 0;
  const shared = { id, "aria-invalid": wrong, "aria-describedby": `${help} ${errors}` };
  const label = field.name.replaceAll("_", " ");
  const classes = ["entry", wrong && "wrong", value !== undefined && "given"];
  return (
    <div class={classes.filter(Boolean).join(" ")} data-field={field.name}>
      <label for={id} title={`${field.flag}: ${field.help}`}>
        {label}
      </label>
      {control(field, value, usual, shared, set)}
      <p class="help" id={help}>
        {field.help}
      </p>
      <Errors id={errors} problems={problems} />
    </div>
  );
}

function control(
  field: Field,
  value: string | true | undefined,
  usual: string,
  shared: { id: string; "aria-invalid": boolean; "aria-describedby": string },
  set: (value: string | true) => void,
) {
  if (field.kind === "flag") {
    return (
      <input
        type="checkbox"
        {...shared}
        checked={value !== undefined}
        onChange={(event) => set(event.currentTarget.checked || "")}
      />
    );
  }
  const text = value === true || value === undefined ? "" : value;
  if (field.choices.length) {
    const known = field.choices.includes(text) || text === "";
    return (
      <select {...shared} value={text} onChange={(event) => set(event.currentTarget.value)}>
        <option value="">{usual && text === "" ? `${usual} (default)` : "default"}</option>
        {!known && <option value={text}>{text}</option>}
        {field.choices.map((choice) => (
          <option key={choice} value={choice}>
            {choice}
          </option>
        ))}
      </select>
    );
  }
  return (
    <input
      type="text"
      {...shared}
      value={text}
      placeholder={usual}
      spellcheck={false}
      autocomplete="off"
      onInput={(event) => set(event.currentTarget.value)}
    />
  );
}

function Errors({ id, problems }: { id: string; problems: Problem[] }) {
  return (
    <div id={id} class="errors" role={problems.length ? "alert" : undefined}>
      {problems.map((problem) => (
        <Told key={problem.message + problem.at} problem={problem} />
      ))}
    </div>
  );
}
