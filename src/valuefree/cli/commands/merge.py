"""``valuefree merge``: full weights of a trained policy, and the commands that serve them."""

from pathlib import Path

from valuefree.cli.options.merge import MergeConfig
from valuefree.models.load import base_of
from valuefree.models.merge import merge, push_to_hub
from valuefree.report.model_card import Origin, code_block, write_card
from valuefree.report.serving import generating_code, loading_code, serving_commands


def command(options: MergeConfig) -> None:
    """Write the folder with its model card; print how to serve it."""
    merged = merge(
        options.run,
        options.out,
        dtype=options.dtype,
        overwrite=options.overwrite,
        trust_remote_code=options.trust_remote_code,
    )
    origin = Origin.of(options.run)
    served = {"encoder_decoder": merged.encoder_decoder, "has_template": merged.has_template}
    code = loading_code("THIS_FOLDER", encoder_decoder=merged.encoder_decoder) + "\n" + generating_code(**served)
    loads = [code_block("python", code), code_block("sh", serving_commands("THIS_FOLDER", **served))]
    carded = write_card(merged.folder, origin, kind="weights", loads="\n\n".join(loads), base=base_of(options.run))
    print(f"merged: {merged.folder}, weights in {options.dtype}")
    if not carded:
        print(f"{merged.folder / 'README.md'} was there already and is kept")
    if quantized := origin.manifest.get("config", {}).get("quantize"):
        print(
            f"The adapter was trained on the base model in {quantized}, and is merged into its {options.dtype} "
            "weights: the merged model differs from the trained one by the rounding of the quantisation."
        )
    if options.push_to_hub:
        print(f"uploaded: {push_to_hub(Path(options.out), options.push_to_hub)}")
    print(serving_commands(options.out, **served))
