"""Environment of the GPU benchmarks: missing packages, import path, and names of the device and of the versions."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from mammoseg.files import atomic_dir

REPOSITORY = Path(__file__).resolve().parents[1]
# Packages without which no step works, by module.
REQUIRED = {
    **{"torch": "torch", "lightning": "lightning", "torchmetrics": "torchmetrics", "hydra": "hydra-core"},
    **{"omegaconf": "omegaconf", "albumentations": "albumentations", "cv2": "opencv-python-headless"},
    **{"pydicom": "pydicom", "python_calamine": "python-calamine"},
    **{"scipy": "scipy", "skimage": "scikit-image", "matplotlib": "matplotlib", "rich": "rich"},
    **{"filelock": "filelock", "jinja2": "jinja2", "yaml": "pyyaml", "PIL": "pillow", "pytest": "pytest"},
}
# Packages that only some steps need.
OPTIONAL = {
    **{"monai": "monai", "einops": "einops", "hydra_plugins.hydra_joblib_launcher": "hydra-joblib-launcher"},
    **{"kornia": "kornia", "pytorch_msssim": "pytorch-msssim"},
}
DESCRIBE = """
import json, platform, torch, lightning, torchmetrics
device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
print(json.dumps({
    "device": device, "Python": platform.python_version(), "torch": torch.__version__,
    "CUDA": str(torch.version.cuda), "cuDNN": str(torch.backends.cudnn.version()),
    "lightning": lightning.__version__, "torchmetrics": torchmetrics.__version__,
}))
"""


class MissingPackagesError(Exception):
    """Packages are missing, and there are no wheels of them."""


def missing(packages: dict[str, str]) -> list[str]:
    """Return the packages that cannot be imported."""
    return [package for module, package in packages.items() if not is_importable(module)]


def is_importable(module: str) -> bool:
    """Return True if a module or its submodule exists; does not import the module itself."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def add_packages(wheels: Path | None, site: Path) -> list[str]:
    """Make the required packages importable, from a folder of wheels if some are missing.

    The wheels are installed into a folder of their own without their dependencies, so that the packages of the
    interpreter remain unchanged.

    Args:
        wheels: Folder of the wheels; None if there is none.
        site: Folder into which they are installed, again if the wheels have changed since an earlier call.

    Returns:
        The optional packages that are missing.

    Raises:
        MissingPackagesError: If a required package is missing.
    """
    sys.path.insert(0, str(site))
    files = sorted(wheels.glob("*.whl")) if wheels is not None else []
    names = "\n".join(path.name for path in files)
    installed = site / "wheels.txt"
    unchanged = installed.is_file() and installed.read_text(encoding="utf-8") == names
    if files and not unchanged and missing({**REQUIRED, **OPTIONAL}):
        with atomic_dir(site, replace=True) as folder:
            options = ["--no-index", "--no-deps", "--no-compile", "--quiet", "--disable-pip-version-check"]
            options.append("--root-user-action=ignore")
            subprocess.run(
                [sys.executable, "-m", "pip", "install", *options, f"--target={folder}", *map(str, files)], check=True
            )
            (folder / installed.name).write_text(names, encoding="utf-8")
    importlib.invalidate_caches()
    if absent := missing(REQUIRED):
        raise MissingPackagesError(
            f"{', '.join(absent)} must be installed; run make setup, or set WHEELS to a folder with their wheels"
        )
    return missing(OPTIONAL)


def environment(work: Path) -> dict[str, str]:
    """Return the environment variables of the steps."""
    paths = [str(work / "site"), str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        "WANDB_MODE": "offline",
        "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor"),  # a repeated step does not compile again
        "MPLBACKEND": "Agg",
    }


def describe(work: Path) -> dict[str, str]:
    """Return the name of the device and the versions of the libraries, from a process of its own."""
    completed = subprocess.run(
        [sys.executable, "-c", DESCRIBE], env=environment(work), stdout=subprocess.PIPE, text=True, check=True
    )
    described: dict[str, str] = json.loads(completed.stdout.splitlines()[-1])
    return described
