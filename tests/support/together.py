"""What tests/forward/test_processes.py starts in two processes: a ranking, a dissection and suggestions, into folders.

Example:

    torchrun --nproc-per-node 2 tests/support/together.py FOLDER
"""

import sys
from pathlib import Path

import torch

import ganpatch
from ganpatch import Generator, Ranking, rank
from ganpatch.forward.processes import ALONE, Group
from ganpatch.runs.dissection_run import dissect_to_folder
from ganpatch.runs.ranking_run import rank_to_folder
from ganpatch.runs.run_folder import RunFolder
from ganpatch.runs.suggestion_run import suggest_for_run
from tests.support.nets import dcgan
from tests.support.painter import eye, painter

LAYERS = ["main.5", "main.1", "main.6"]
SEEDS = [5, 3, 900, *range(10, 85)]  # 78 of them: ten batches of eight, the last one of six
METHODS = ["first-look", "rarity", "fd"]


def small() -> Generator:
    module, latent = dcgan()
    return ganpatch.load(module, latent=latent)


def work(folder: Path, group: Group = ALONE) -> list[int]:
    """Do it all; return the progress that was shown."""
    shown: list[int] = []
    rank_to_folder(small(), RunFolder(folder / "rank", group=group), LAYERS, SEEDS, k=5, batch_size=8,
                   progress=lambda done, total: shown.append(done))  # fmt: skip
    dissect_to_folder(painter(), eye(), RunFolder(folder / "dissect", group=group), ["maps"], range(61), batch_size=8)
    rank_to_folder(small(), RunFolder(folder / "few", group=group), ["main.5"], range(170), k=3)
    suggest_for_run(folder / "few", small(), METHODS, real=folder.parent / "real", references=40, group=group)
    return shown


def main() -> None:
    torch.set_num_threads(1)
    folder, group = Path(sys.argv[1]), Group.of_environment()
    group.join()
    shown = work(folder, group)
    tiny = rank(small(), ["main.5"], range(5), k=2, group=group)  # the second process has nothing to do
    everyone = group.gathered({"seeds": tiny["main.5"].top_seeds, "few": torch.tensor(len(tiny.thumbnails))})
    assert torch.equal(everyone[0]["seeds"], everyone[1]["seeds"])
    assert int(everyone[0]["few"]) > 0 == int(everyone[1]["few"])
    if group.is_first:
        assert shown == sorted(shown)
        assert shown[-1] == len(SEEDS)
        tiny.save(folder / "tiny")
        assert Ranking.load(folder / "rank").computed.processes == 2
    group.leave(well=True)


if __name__ == "__main__":
    main()
