"""The README's commands, typed in the folder that it shows."""

import shutil

from switchyard_connectors.hubspot.simulator import HubSpotSimulator

from .pages import ROOT, Reader, blocks


def test_the_readme(reader: Reader) -> None:
    shutil.copytree(ROOT / "config" / "minimal", reader.folder, dirs_exist_ok=True)
    (reader.folder / "drop").mkdir()
    settings = reader.folder / "switchyard.yaml"
    reader.environment["HUBSPOT_TOKEN"] = "pat-na1-simulator"
    with HubSpotSimulator() as crm:
        # The page shows HubSpot itself, which is not for tests to call.
        text = settings.read_text().replace("config: {token:", f"config: {{base_url: {crm.url}, token:")
        assert crm.url in text
        settings.write_text(text)
        reader.follow(blocks(ROOT / "README.md"))
        reader.close()
