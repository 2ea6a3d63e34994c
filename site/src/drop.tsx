// Files from the desktop: dropped anywhere, or chosen with a button.
import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";

type Drop = (files: Record<string, string>) => void;
const LARGEST = 16 * 2 ** 20; // as the compiler has it for plans

async function texts(list: FileList | null | undefined): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const file of list ?? []) {
    found[file.name] = file.size > LARGEST ? "" : await file.text();
  }
  return found;
}

export function DropZone({ drop, children }: { drop: Drop; children: ComponentChildren }) {
  const [over, become] = useState(false);
  return (
    <div
      class={over ? "zone over" : "zone"}
      onDragOver={(event) => {
        event.preventDefault();
        become(true);
      }}
      onDragLeave={(event) => {
        if (event.relatedTarget === null) become(false);
      }}
      onDrop={(event) => {
        event.preventDefault();
        become(false);
        void texts(event.dataTransfer?.files).then(drop);
      }}
    >
      {children}
      {over && (
        <div class="veil">
          Drop a spec, an emitted file, or nnUNetPlans.json with its dataset.json
        </div>
      )}
    </div>
  );
}

export function OpenButton({ drop }: { drop: Drop }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" onClick={() => input.current?.click()}>
        Open a file
      </button>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        accept=".toml,.py,.json"
        aria-label="A spec, an emitted file, or nnU-Net's plans"
        onChange={(event) => {
          const field = event.currentTarget;
          void texts(field.files).then((found) => {
            field.value = "";
            drop(found);
          });
        }}
      />
    </>
  );
}
