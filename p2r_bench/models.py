"""Model folders: names and hub ids resolved, digests, and the profile that a folder asks for."""

from p2r_bench.bundled import model_profile, resolve_model
from p2r_bench.engines.model_folder import TEXT_FILES, model_digest, model_folder

__all__ = ["TEXT_FILES", "model_digest", "model_folder", "model_profile", "resolve_model"]
