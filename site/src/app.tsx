// The page: its address, its header, and one of two screens.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Compiler, Status } from "./compiler";
import { DropZone, OpenButton } from "./drop";
import { Gallery } from "./gallery";
import { CompilerContext, useAnswer } from "./hooks";
import type { Catalog, Dropped, Network } from "./messages";
import { Opened } from "./opened";
import { GALLERY, read, written, type View } from "./state";
import { Workbench } from "./workbench";

interface Props {
  compiler: Compiler;
  catalog: Catalog;
  data: string; // the folder of the catalog's drawings
  first: View;
}

export function App({ compiler, catalog, data, first }: Props) {
  const [view, become] = useState(first);
  const [files, drop] = useState<Record<string, string>>({});
  const address = useRef(location.hash);
  const latest = useRef(first);

  useEffect(() => {
    const follow = (): void => {
      if (location.hash === address.current) return;
      address.current = location.hash;
      void read(location.hash).then(become);
    };
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);

  // A new network is a step back in the browser's history; what is typed is not.
  function show(next: View, step = false): void {
    become(next);
    latest.current = next;
    void written(next).then((fragment) => {
      if (latest.current !== next) return; // an address takes a moment, and more was typed
      address.current = fragment;
      const url = fragment || location.pathname + location.search;
      if (step) history.pushState(null, "", url);
      else history.replaceState(null, "", url);
    });
  }

  function open(network: Network, target?: string): void {
    show({ ...(view.network ? view : GALLERY), network, target: target ?? view.target }, true);
  }

  return (
    <CompilerContext.Provider value={compiler}>
      <DropZone drop={(added) => drop(merged(files, added))}>
        <header class="top">
          <a class="name" href="#" onClick={(event) => (event.preventDefault(), show(GALLERY, true))}>
            plainnet
          </a>
          <nav>
            <a
              href="#"
              aria-current={view.network ? undefined : "page"}
              onClick={(event) => (event.preventDefault(), show(GALLERY, true))}
            >
              Gallery
            </a>
          </nav>
          <span class="grow" />
          <Started compiler={compiler} />
          <OpenButton drop={(added) => drop(merged(files, added))} />
        </header>
        <Files files={files} close={() => drop({})} open={open} />
        {view.network ? (
          <Workbench tables={catalog.form} view={view} show={show} />
        ) : (
          <Gallery pieces={catalog.gallery} data={data} />
        )}
        <footer class="bottom">
          Everything runs in this browser. No file, spec or address leaves it, and the page works
          offline. plainnet {catalog.form.version}
        </footer>
      </DropZone>
    </CompilerContext.Provider>
  );
}

/** Plans and their dataset.json may be dropped one after the other. */
function merged(
  before: Record<string, string>,
  added: Record<string, string>,
): Record<string, string> {
  const names = [...Object.keys(before), ...Object.keys(added)];
  const twoOfPlans = names.every((name) => /\.json$/i.test(name)) && new Set(names).size === 2;
  return twoOfPlans ? { ...before, ...added } : added;
}

interface FilesProps {
  files: Record<string, string>;
  close: () => void;
  open: (network: Network, target?: string) => void;
}

function Files({ files, close, open }: FilesProps) {
  const some = Object.keys(files).length > 0;
  const asked = useAnswer<Dropped>("dropped", some ? { ask: "dropped", files } : null);
  if (!some) return null;
  return <Opened names={Object.keys(files)} asked={asked} close={close} open={open} />;
}

function Started({ compiler }: { compiler: Compiler }) {
  const [status, become] = useState<Status>(compiler.status);
  const [offline, keep] = useState(false);
  useEffect(() => compiler.listen(become), [compiler]);
  useEffect(() => {
    // After Python has started: the same files are then in the browser's cache.
    if (status.state === "ready") void worksOffline().then(keep);
  }, [status.state]);
  if (status.state === "failed") {
    return (
      <span class="status failed" role="alert">
        The compiler did not start: {status.why}
      </span>
    );
  }
  if (status.state === "loading") {
    const percent = Math.round(status.progress * 100);
    return (
      <label class="status">
        Loading the compiler
        <progress max={100} value={percent} aria-label="Loading the compiler" />
      </label>
    );
  }
  return <span class="status ready">{offline ? "Ready, also offline" : "Ready"}</span>;
}

async function worksOffline(): Promise<boolean> {
  if (!("serviceWorker" in navigator)) return false;
  try {
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
    return true;
  } catch {
    return false; // not over https, or not allowed
  }
}
