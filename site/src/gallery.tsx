// The first screen: the catalog, one click away from its files.
import { useEffect, useState } from "preact/hooks";
import { short } from "./hooks";
import type { Piece } from "./messages";
import { GALLERY, written } from "./state";

const GROUPS: [string, string][] = [
  ["segmentation", "Segmentation"],
  ["resnet", "ResNet and ResNeXt"],
  ["senet", "With squeeze-and-excitation"],
];

export function Gallery({ pieces, data }: { pieces: Piece[]; data: string }) {
  const [dims, choose] = useState(3);
  return (
    <main class="gallery">
      <div class="intro">
        <h1>Turn a network's name into one readable source file</h1>
        <p>
          In PyTorch or Keras 3, in 2D or 3D. Choose a network, change what you like, and take the
          file with you. The compiler runs in your browser: nothing is uploaded.
        </p>
        <div class="choice" role="group" aria-label="Dimensions">
          {[2, 3].map((rank) => (
            <button
              key={rank}
              type="button"
              aria-pressed={dims === rank}
              onClick={() => choose(rank)}
            >
              {rank}D
            </button>
          ))}
        </div>
      </div>
      {GROUPS.map(([group, title]) => (
        <section key={group} aria-labelledby={`group-${group}`}>
          <h2 id={`group-${group}`}>{title}</h2>
          <ul class="cards">
            {pieces
              .filter((piece) => piece.group === group && piece.dims === dims)
              .map((piece) => (
                <Card key={piece.title + String(piece.dims)} piece={piece} data={data} />
              ))}
          </ul>
        </section>
      ))}
    </main>
  );
}

function Card({ piece, data }: { piece: Piece; data: string }) {
  const [address, become] = useState("");
  useEffect(() => {
    void written({ ...GALLERY, network: piece.network }).then(become);
  }, [piece]);
  return (
    <li>
      <a class="card" href={address}>
        <img
          src={`${data}/${piece.drawing}`}
          alt={`${piece.title}, ${short(piece.parameters)} parameters, ${short(piece.macs)} MACs`}
          loading="lazy"
        />
      </a>
    </li>
  );
}
