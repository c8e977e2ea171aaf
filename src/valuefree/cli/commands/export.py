"""``valuefree export``: a trained policy as a GGUF file, for llama.cpp and Ollama."""

from valuefree.cli.options.export import ExportConfig
from valuefree.models.gguf_export import MODELFILE, export_gguf
from valuefree.models.load import base_of
from valuefree.report.model_card import CARD, Origin, code_block, write_card
from valuefree.report.serving import ollama_commands


def command(options: ExportConfig) -> None:
    """Write the file, its Modelfile and its model card; print how to run it."""
    file = export_gguf(
        options.run,
        options.gguf,
        quantize=options.quantize,
        overwrite=options.overwrite,
        trust_remote_code=options.trust_remote_code,
    )
    commands = ollama_commands(file.stem)
    loads = code_block("sh", commands)
    carded = write_card(file.parent, Origin.of(options.run), kind="gguf", loads=loads, base=base_of(options.run))
    print(f"exported: {file}, matrices in {options.quantize}, and {file.with_name(MODELFILE)}")
    if not carded:
        print(f"{file.with_name(CARD)} was there already and is kept")
    print(f"in {file.parent}:\n{commands}")
