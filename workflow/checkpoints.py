"""The weights that a run reads: trained here, or public files; what is known of them before they are read."""

import functools
import os
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import PurePath
from typing import Any

from varc.files import joined_sha256
from varc.models.headers import downsampling
from workflow.config.classifiers import PublicFiles
from workflow.config.entry import ConfigError
from workflow.config.lineage import ancestry, architecture, image_size, origin, patch_nums, shape_of, vqvae_owner
from workflow.config.models import CHECKPOINTS as FOLDER
from workflow.config.models import PIXELS_PER_PATCH, PUBLIC_NORM_GROUPS, PublicModel
from workflow.config.study import Config

PARTS = ("vqvae", "var")


class Checkpoints:
    """Those of a config. folder: of the run. digest: the SHA-256 of a file, None where there is none.

    An input that is absent and cannot be made is left out, so that a dry run can do without it; a real run is stopped
    first (workflow.sources).
    """

    def __init__(self, config: Config, folder: str, digest: Callable[[str], str | None]):
        self.config, self.folder, self.digest = config, folder, functools.cache(digest)
        self.models, self.downsampling = config.models, functools.cache(downsampling)

    def public(self, model: str) -> PublicModel:
        entry = self.models[model]
        assert isinstance(entry, PublicModel)
        return entry

    def owner(self, model: str, part: str) -> str:
        """The model whose entry tells where the weights of a part of a model come from."""
        return vqvae_owner(self.models, model) if part == "vqvae" else model

    def is_given(self, model: str, part: str) -> bool:
        """Whether the weights of a part of a model are a public file, and not trained here."""
        return isinstance(self.models[self.owner(model, part)], PublicModel)

    def sha256(self, model: str, part: str) -> str | None:
        """The SHA-256 of a checkpoint: as the config says, else of the file, None where there is none yet."""
        entry = self.public(model)
        return entry.digest(part) or self.digest(entry.files[part])

    def vqvae_of(self, model: str) -> str:
        """The VQ-VAE that a model uses, as tokens/ names it: its owner, or a public file's stem and 8 digits of its
        SHA-256, so that models with the same VQ-VAE share its tokens, and a changed file starts new ones."""
        owner = self.owner(model, "vqvae")
        if not self.is_given(model, "vqvae"):
            return owner
        stem = PurePath(self.public(owner).vqvae).stem
        digest = self.sha256(owner, "vqvae") or "absent"
        return f"{''.join(c if c.isalnum() or c in '_-' else '_' for c in stem)}-{digest[:8]}"

    @cached_property
    def vqvaes(self) -> dict[str, str]:
        """<vqvae> -> the model that owns it. Raises ConfigError where two give one file other settings."""
        found: dict[str, str] = {}
        for owner in sorted({self.owner(name, "vqvae") for name in self.used()}):
            first = found.setdefault(self.vqvae_of(owner), owner)
            if self.checkpoint(first, "vqvae") != self.checkpoint(owner, "vqvae"):
                raise ConfigError(f"models: {first} and {owner} read one VQ-VAE with other settings; make them equal")
        return found

    def used(self) -> list[str]:
        """The models that the run scores with, explains or trains, and those that they are made from."""
        evaluated = {name for entry in self.config.evaluate for name in entry.classifiers}
        learning = {entry.classifier for entry in self.config.incremental}
        names = {self.config.own[name].model for name in evaluated | learning if name in self.config.own}
        names |= {name for grid in self.config.smoothing for name in grid.models}
        names |= {name for explained in self.config.explain for name in explained.models}
        return sorted({made for name in names for made in ancestry(self.models, name)})

    def side(self, vqvae: str) -> int:
        """Pixels per side of the images that a VQ-VAE encodes; as if it were the public one where nothing tells yet."""
        owner = self.vqvaes[vqvae]
        if known := image_size(self.models, owner):
            return known
        pixels = self.downsampling(self.public(owner).vqvae) or PIXELS_PER_PATCH
        return pixels * patch_nums(self.models, owner)[-1]

    @cached_property
    def downloads(self) -> dict[str, tuple[str, str]]:
        """Name below checkpoints/ -> model and part, of the files that the config has downloaded."""
        public = ((name, entry) for name, entry in self.models.items() if isinstance(entry, PublicModel))
        files = {file: (name, part) for name, entry in public if entry.hub for part, file in entry.files.items()}
        return {file.removeprefix(f"{FOLDER}/"): owner for file, owner in files.items()}

    def to_download(self, file: str) -> bool:
        folder, _, name = file.partition("/")
        wanted = folder == FOLDER and name in self.downloads
        return wanted and self.digest(file) != self.sha256(*self.downloads[name])

    def absent(self) -> list[str]:
        """The names below checkpoints/ that a run may write."""
        return [name for name in self.downloads if self.to_download(f"{FOLDER}/{name}")]

    def hub(self, checkpoint: str) -> dict[str, Any]:
        """The repository that a name below checkpoints/ is downloaded from."""
        hub = self.public(self.downloads[checkpoint][0]).hub
        assert hub is not None
        return hub.given()

    def hub_sha256(self, checkpoint: str) -> str | None:
        return self.sha256(*self.downloads[checkpoint])

    @cached_property
    def given(self) -> set[str]:
        """The public weights that are there: their content counts, and not their time.

        Not those that will be downloaded, since Snakemake does not look then whether what depends on them has changed.
        """
        entries = [entry for entry in self.models.values() if isinstance(entry, PublicModel)]
        files = {file for entry in entries for file in entry.files.values()}
        rivals = {file for name in self.config.baselines for file in self.public_files(name)}
        return {file for file in files if not self.to_download(file)} | rivals

    def weights(self, model: str, part: str) -> str | list[str]:
        """The file of a model's weights; none for a checkpoint that is not there and will not be downloaded."""
        owner = self.owner(model, part)
        if not self.is_given(model, part):
            return f"{self.folder}/models/{owner}/{part}.safetensors"
        file = self.public(owner).files[part]
        return file if self.to_download(file) or os.path.exists(file) else []

    def both(self, model: str) -> dict[str, Any]:
        """The weights of a model, and their cards."""
        return {**{part: self.weights(model, part) for part in PARTS}, "cards": self.cards(model)}

    def cards(self, model: str) -> list[str]:
        """The cards of a model's weights, as far as they are made here: what is made with other weights is told by them
        (varc.freshness.check_fresh)."""
        made = [part for part in PARTS if not self.is_given(model, part)]
        return [f"{self.folder}/models/{self.owner(model, part)}/{part}.json" for part in made]

    def expected(self, scorer: str) -> dict[str, str | None]:
        """What files that are made with public weights must say of them; nothing of those that are made here."""
        if scorer in self.config.baselines:
            trained = self.config.baselines[scorer].train
            return {} if trained else {"weights_sha256": joined_sha256(self.public_sha256(scorer))}
        public = [part for part in PARTS if self.is_given(scorer, part)]
        return {f"{part}_sha256": self.sha256(self.owner(scorer, part), part) for part in public}

    def checkpoint(self, model: str, part: str) -> dict[str, Any] | None:
        """What is known of a checkpoint before it is read; None for weights that are made here, whose card tells."""
        owner = self.owner(model, part)
        if not self.is_given(model, part):
            return None
        entry = self.public(owner)
        known: dict[str, Any] = {"sha256": self.sha256(owner, part), "patch_nums": entry.patch_nums}
        if shape := architecture(self.models, owner):
            known |= {"patch_nums": shape["vqvae"]["patch_nums"], "architecture": shape[part]}
        if part == "vqvae":
            known["norm_groups"] = entry.norm_groups or PUBLIC_NORM_GROUPS
        return known

    def shape(self, model: str) -> dict[str, Any]:
        """A model's shape; where only the tensors tell, the files and what they do not show."""
        if found := architecture(self.models, model):
            return found
        start, entry = origin(self.models, model), self.public(self.owner(model, "vqvae"))
        files = {part: entry.files[part] for part in PARTS if self.is_given(start, part)}
        told: dict[str, Any] = {"patch_nums": entry.patch_nums, "norm_groups": entry.norm_groups}
        told["var"] = None if "var" in files else shape_of(self.models, model, "var")
        return {"files": files, **{key: value for key, value in told.items() if value}}

    def shapes(self, models: Iterable[str]) -> dict[str, dict[str, Any]]:
        return {name: self.shape(name) for name in models}

    def shape_files(self, models: Iterable[str]) -> list[str]:
        """The checkpoints that shapes are read from, as far as no architecture is named."""
        unnamed = {origin(self.models, name) for name in models if not architecture(self.models, name)}
        files = (self.weights(name, part) for name in sorted(unnamed) for part in PARTS if self.is_given(name, part))
        return [file for file in files if isinstance(file, str)]

    # rivals

    def public_files(self, baseline: str) -> list[str]:
        """The files of a baseline's public weights, as far as they are there; none where it is trained here."""
        entry = self.config.baselines[baseline]
        if entry.files:
            return sorted(file for file in entry.files.values() if os.path.exists(file))
        folder = entry.checkpoint
        assert not isinstance(folder, PublicFiles)
        if folder is None or (os.path.exists(folder) and not os.path.isdir(folder)):
            return [folder] if folder else []
        found = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
        return sorted(file for file in found if file.endswith((".safetensors", ".json")))

    def baseline_weights(self, baseline: str) -> str | list[str]:
        """The file of a baseline that is trained here; the files of public weights."""
        trained = self.config.baselines[baseline].train
        return f"{self.folder}/baselines/{baseline}.safetensors" if trained else self.public_files(baseline)

    def baseline_cards(self, baseline: str) -> list[str]:
        """The card of a baseline that is trained here; see cards."""
        return [f"{self.folder}/baselines/{baseline}.json"] if self.config.baselines[baseline].train else []

    def public_sha256(self, baseline: str) -> dict[str, str | None]:
        """File -> SHA-256 of public weights: as the config says, else of the file."""
        entry = self.config.baselines[baseline]
        said = {file: entry.digest(part) for part, file in entry.files.items()}
        return {file: said.get(file) or self.digest(file) for file in self.public_files(baseline)}

    def baseline(self, baseline: str) -> dict[str, Any]:
        """A baseline's entry, as scripts take it."""
        return self.config.baselines[baseline].given()

    def family(self, baseline: str) -> str:
        return self.config.baselines[baseline].family

    def baseline_data(self, baseline: str) -> str:
        """The data set that a baseline is trained on."""
        train = self.config.baselines[baseline].train
        assert train is not None
        return train.data
