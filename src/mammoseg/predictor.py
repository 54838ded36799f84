"""Python interface for predictions: `mammoseg.load(checkpoint)(image)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg import hub
from mammoseg.candidates import (
    ALL_MASSES,
    DEFAULT_MIN_AREA,
    DEFAULT_MIN_AREA_MM2,
    MaximumNumber,
    MinimumArea,
    select_masses,
)
from mammoseg.data.images.metadata import ImageMetadata
from mammoseg.data.images.read import read_image
from mammoseg.data.preprocessing.inverse import InversePreprocessing
from mammoseg.ensemble import Ensemble, load_ensemble
from mammoseg.errors import UserError
from mammoseg.pretrained.registry import default_model
from mammoseg.runs.checkpoint_paths import resolve_checkpoints


@dataclass(frozen=True)
class Prediction:
    """Prediction for a mammogram at its original resolution.

    Attributes:
        prob: Probability of mass of each pixel, shape (H, W), in [0, 1]; 0 outside the segmented breast.
        mask: Predicted mask, shape (H, W): pixels whose `prob` exceeds the threshold, without the connected components
            that `load` excludes by area or number.
        std: Standard deviation of the probability over the members of the ensemble, shape (H, W), in [0, 0.5]; None
            for a single network without test-time augmentation.
        warning: In what the image is unlike the images on which the network was trained; empty if it is like them or if
            the model does not state their range.

    Example:
        >>> import numpy as np
        >>> prob = np.array([[0.2, 0.9]], np.float32)
        >>> Prediction(prob=prob, mask=prob > 0.5, std=None).mask
        array([[False,  True]])
    """

    prob: NDArray[np.float32]
    mask: NDArray[np.bool_]
    std: NDArray[np.float32] | None
    warning: str = ""


class Predictor:
    """Predicts masses in mammograms of any size; created by `load`.

    Args:
        ensemble: One or several networks.
        min_area: Minimum area of a mass.
        maximum: Maximum number of masses.

    Raises:
        UserError: If a minimum or maximum is invalid.

    Example:
        >>> import torch
        >>> from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
        >>> settings = PreprocessingSettings(size=16)
        >>> predictor = Predictor(Ensemble([torch.nn.Identity()], settings, 0.5, False, torch.device("cpu")))
        >>> predictor(np.zeros((64, 48))).prob.shape
        (64, 48)
    """

    def __init__(
        self, ensemble: Ensemble, min_area: MinimumArea = DEFAULT_MIN_AREA, maximum: MaximumNumber = ALL_MASSES
    ) -> None:
        min_area.check()
        maximum.check()
        self.ensemble = ensemble
        self.min_area = min_area
        self.maximum = maximum

    @classmethod
    def from_pretrained(
        cls, model: str | Path, *, revision: str | None = None, token: str | None = None, **options: Any
    ) -> Predictor:
        """Load an exported model: a folder, a pretrained model of the package, or a repository of the Hugging Face Hub.

        Args:
            model: A folder; the name of a pretrained model; or a repository such as "owner/name", which is downloaded
                unless a file or folder of this name exists.
            revision: Branch, tag or commit of the repository; None for the main branch.
            token: Access token for a private repository; None for that of `hf auth login`. It is not used for other
                models.
            **options: Arguments of `load`, such as `tta`.

        Raises:
            UserError: If the model is invalid or cannot be downloaded, or `revision` is set for a model that is not
                downloaded.

        Example:
            >>> import mammoseg
            >>> predictor = mammoseg.Predictor.from_pretrained("owner/name")  # doctest: +SKIP
        """
        path = Path(model).expanduser()
        if path.exists() or "/" not in str(model):
            if revision is not None:
                raise UserError(
                    f"revision must be None for {model}, a local or pretrained model, which has no revisions, "
                    f"got {revision}"
                )
            return load(path, **options)
        return load(hub.download(str(model), revision, token), **options)

    @property
    def threshold(self) -> float:
        """Probability above which a pixel is mass."""
        return self.ensemble.threshold

    def __call__(self, image: NDArray[Any] | str | Path) -> Prediction:
        """Predict the masses in one image, with the same mask as `mammoseg.predict` with the same settings.

        Args:
            image: Grey values of shape (H, W), where brighter tissue is denser, or the path of a DICOM, PNG, TIFF or
                JPEG file. The pixel spacing of an array is unknown.

        Returns:
            The prediction, with maps of shape (H, W).

        Raises:
            ImageReadError: If the file cannot be read.
            ValueError: If the array is not two-dimensional.
        """
        if isinstance(image, str | Path):
            pixels, metadata = read_image(Path(image))
        else:
            pixels, metadata = np.asarray(image), ImageMetadata()
        if pixels.ndim != 2:
            raise ValueError(f"image must have the shape (H, W), got {pixels.shape}")
        preprocessed = self.ensemble.prepare(pixels)
        inverse = InversePreprocessing.from_preprocessed(preprocessed, pixels.shape, self.ensemble.settings.aspect)
        mean, std = self.ensemble(preprocessed.image[None])
        breast = inverse.region_to_original(preprocessed.breast)
        prob = inverse.to_original(mean[0]) * breast
        min_pixels = self.min_area.in_pixels(prob.shape, metadata.spacing)
        mask, _ = select_masses(prob > np.float32(self.threshold), prob, None, min_pixels, self.maximum)
        return Prediction(
            prob=prob,
            mask=mask,
            std=inverse.to_original(std[0]) * breast if self.ensemble.members > 1 else None,
            warning=self.ensemble.warning(pixels.shape, preprocessed, metadata),
        )


def load(
    *checkpoints: str | Path,
    tta: bool = False,
    threshold: float | None = None,
    accelerator: str = "auto",
    trusted_modules: Sequence[str] = (),
    min_area_mm2: float = DEFAULT_MIN_AREA_MM2,
    min_area_pixels: int | None = None,
    max_masses: int | None = None,
    max_masses_by: str = "area",
) -> Predictor:
    """Load one or several checkpoints for prediction. The options are those of `mammoseg.predict`.

    Args:
        *checkpoints: Run folders, checkpoints, exported models, "latest", or names of pretrained models. Several form
            an ensemble, as do the two best checkpoints of a run with split.test=both. Without any, the default
            pretrained model is loaded.
        tta: Whether to use test-time augmentation, which averages the predictions over flips of the image.
        threshold: Probability above which a pixel is mass; None uses the threshold of the checkpoints.
        accelerator: "auto", "cpu" or "gpu".
        trusted_modules: Modules or classes that a checkpoint may instantiate, besides those that `conf/` names.
        min_area_mm2: Minimum area of a mass in mm2; not used in images without a pixel spacing.
        min_area_pixels: Minimum area in pixels in these images; None for 0.01 % of the image.
        max_masses: Maximum number of masses of an image; None for all.
        max_masses_by: Which masses are kept: those of the largest "area" or the highest "score".

    Returns:
        The predictor, which maps an image to a `Prediction`.

    Raises:
        UserError: If an option or a checkpoint is invalid, checkpoints are incompatible, or no model is installed.

    Example:
        >>> mammoseg.load("outputs/latest")("mammogram.dcm").mask.shape  # doctest: +SKIP
        (3328, 2560)
    """
    paths = [path for checkpoint in checkpoints for path in resolve_checkpoints(checkpoint, "checkpoint")]
    paths = paths or [default_model("checkpoint").weights]
    model = load_ensemble(paths, tta=tta, threshold=threshold, accelerator=accelerator, trusted_modules=trusted_modules)
    return Predictor(model, MinimumArea(min_area_mm2, min_area_pixels), MaximumNumber(max_masses, max_masses_by))
