"""Images of requests: decoded once per source, rendered once per recipe, in threads, within a byte budget."""

from p2r_bench.run.images.rendering import EncodedImage, ImageWork

__all__ = ["EncodedImage", "ImageWork"]
