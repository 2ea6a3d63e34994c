// A row of tabs, which the arrow keys move along.
interface Props<T extends string> {
  label: string;
  names: readonly (readonly [T, string])[];
  chosen: T;
  choose: (name: T) => void;
}

export function Tabs<T extends string>({ label, names, chosen, choose }: Props<T>) {
  function moved(event: KeyboardEvent, by: number): void {
    event.preventDefault();
    const at = names.findIndex(([name]) => name === chosen);
    const next = names[(at + by + names.length) % names.length];
    if (!next) return;
    choose(next[0]);
    const list = (event.currentTarget as Element).parentElement;
    list?.querySelector<HTMLElement>(`[data-tab="${next[0]}"]`)?.focus();
  }
  return (
    <div class="choice" role="tablist" aria-label={label}>
      {names.map(([name, title]) => (
        <button
          key={name}
          type="button"
          role="tab"
          id={`tab-${name}`}
          data-tab={name}
          aria-selected={name === chosen}
          aria-controls="panel"
          tabIndex={name === chosen ? 0 : -1}
          onClick={() => choose(name)}
          onKeyDown={(event) => {
            if (event.key === "ArrowRight") moved(event, 1);
            if (event.key === "ArrowLeft") moved(event, -1);
          }}
        >
          {title}
        </button>
      ))}
    </div>
  );
}
