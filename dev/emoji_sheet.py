"""Writes the picture with the embedded emoji: one row per class with 64 emoji.

npm pack @lobehub/fluent-emoji-3d@1.1.0
.host/venv/bin/python -m dev.emoji_sheet lobehub-fluent-emoji-3d-1.1.0.tgz   # embedded/emoji.png
"""

import argparse
import io
import sys
import tarfile
from pathlib import Path

from PIL import Image

from embedded.emoji import CLASSES, FILE, SHAPE

_SIZE = SHAPE[1:]
_ROWS = {
    "faces": """
        😀 😁 😆 😅 🤣 😂 🙂 🙃 😉 😇 🥰 😍 🤩 😘 😋 😜 🤪 🤑 🤗 🤔 🫡 🤐 😶 🙄 😬 🤥 😴 😷 🤢 🤮 🥵 🥶
        😵 🤯 🤠 🥳 🥸 😎 🤓 🧐 😳 🥺 😨 😭 😱 😤 😡 🤬 😈 👿 💀 🤡 👹 👺 👽 👾 🤖 😺 😻 😼 😾 🙈 🙉 🙊""",
    "animals": """
        🐵 🦍 🦧 🐶 🐺 🦊 🦝 🐈 🦁 🐯 🐴 🦄 🦓 🦌 🐮 🐷 🐑 🐪 🦒 🐘 🦏 🐹 🐰 🐿️ 🦔 🐻 🐨 🐼 🦥 🦦 🐓 🐣
        🐥 🐦 🐧 🦆 🦉 🦩 🦚 🦜 🐸 🐊 🐢 🐍 🐲 🦕 🦖 🐋 🐬 🐟 🐠 🦈 🐙 🪼 🦀 🦞 🦐 🦑 🐌 🦋 🐝 🪲 🐞 🕷️""",
    "food": """
        🍞 🥐 🥨 🥯 🥞 🧇 🧀 🍖 🍗 🥩 🥓 🍔 🍟 🍕 🌭 🥪 🌮 🌯 🫔 🥙 🍳 🥘 🍲 🫕 🥗 🍿 🥫 🍱 🍘 🍙 🍜 🍝
        🍣 🍤 🥮 🍡 🥟 🥠 🍦 🍧 🍨 🍩 🍪 🎂 🍰 🧁 🥧 🍫 🍬 🍭 🍮 🍯 ☕ 🫖 🍵 🍾 🍷 🍹 🍺 🥃 🥤 🧋 🧃 🥖""",
    "plants": """
        🍇 🍈 🍉 🍊 🍋 🍌 🍍 🥭 🍎 🍏 🍐 🍑 🍒 🍓 🫐 🥝 🍅 🫒 🥥 🥑 🍆 🥕 🌽 🌶️ 🫑 🥒 🥬 🥦 🧅 🥜 🫘 🌰
        🫚 🫛 🍠 💐 🌸 🪷 🏵️ 🌹 🥀 🌺 🌻 🌼 🌷 🪻 🌱 🪴 🌲 🌳 🌴 🌵 🌾 🌿 ☘️ 🍀 🍁 🍂 🍃 🪺 🍄 🎄 🎋 🪵""",
    "travel": """
        🌍 🌏 🧭 🏔️ 🌋 🗻 🏕️ 🏖️ 🏜️ 🏝️ 🏛️ 🛖 🏠 🏡 🏢 🏥 🏦 🏪 🏫 🏭 🏯 🏰 💒 🗽 🕌 ⛩️ ⛺ 🌃 🌄 🌅 🌆 🌉
        🎪 🚂 🚃 🚄 🚆 🚇 🚌 🚎 🚑 🚒 🚓 🚕 🚗 🚙 🛻 🚚 🚜 🏍️ 🛵 🛺 ⛽ 🚦 🚧 ⛵ 🛶 🚤 🚢 ✈️ 🚁 🚠 🚀 🛸""",
    "activities": """
        🎃 🎆 🧨 🎈 🎉 🎊 🎏 🎑 🧧 🎀 🎁 🎗️ 🎟️ 🎫 🎖️ 🏆 🏅 🥇 🥈 🥉 ⚽ ⚾ 🥎 🏀 🏐 🏈 🥏 🎳 🏓 🥊 ⛳ ⛸️
        🎣 🤿 🎽 🎿 🛷 🥌 🎯 🪀 🪁 🎱 🔮 🎮 🕹️ 🎰 🎲 🧩 🧸 🪅 🪩 🪆 ♠️ ♦️ ♣️ ♟️ 🎭 🖼️ 🎨 🧵 🧶 🛹 🛼 🎠""",
    "objects": """
        👓 🕶️ 🦺 👔 👕 👖 🧣 🧤 🧦 👗 👛 👜 🛍️ 🎒 🥾 👠 👑 👒 🎩 🎓 🧢 ⛑️ 💄 💎 📣 🔔 🎤 📻 🎷 🎺 🪗 🎸
        🎹 🎻 🪘 📱 ☎️ 💻 💽 💾 🧮 🎥 🎬 📺 📷 🔍 🏮 📕 📗 📘 📚 🪙 💰 📦 📮 💼 📅 ✂️ 🔒 🛡️ 🧰 🧲 🛋️ 🧯""",
    "hearts and symbols": """
        💘 💝 💖 💗 💓 💞 💕 💟 ❣️ 💔 ❤️ 🩷 🧡 💛 💚 💙 🩵 💜 🤎 🖤 🩶 💋 💯 💢 💥 ⚠️ ⛔ 🚫 ☢️ ☯️ ☮️ ♻️
        ♈ ♉ ♊ ♌ ♎ ♐ ♒ ▶️ 🔀 ⏩ ⏸️ ⬆️ ➡️ 🔄 🔰 ✅ ✳️ ✴️ ❇️ 🅰️ 🅱️ 🆎 🆗 🅿️ 🆘 🔴 🟠 🟡 🟢 🔵 🟣 🟦""",
}


def picture(archive: tarfile.TarFile, emoji: str) -> Image.Image:
    """One emoji on white.

    Raises:
        ValueError: the archive does not have this emoji.
    """
    name = "-".join(f"{ord(letter):04x}" for letter in emoji)
    try:
        data = archive.extractfile(f"package/assets/{name}.webp").read()
    except KeyError:
        raise ValueError(
            f"{archive.name} has no {emoji} ({name}.webp); take version 1.1.0 of @lobehub/fluent-emoji-3d."
        ) from None
    drawing = Image.open(io.BytesIO(data)).convert("RGBA")
    white = Image.new("RGBA", drawing.size, "white")
    white.alpha_composite(drawing)
    return white.convert("RGB").resize(_SIZE, Image.Resampling.LANCZOS)


def atlas(archive: tarfile.TarFile) -> Image.Image:
    """All emoji: class by class from the top, in the order of CLASSES."""
    rows = [_ROWS[name].split() for name in CLASSES]
    height, width = _SIZE
    image = Image.new("RGB", (width * len(rows[0]), height * len(rows)))
    for y, row in enumerate(rows):
        for x, emoji in enumerate(row):
            image.paste(picture(archive, emoji), (x * width, y * height))
    return image


def main() -> int:
    """Write the file; 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(description="Writes embedded/emoji.png.")
    parser.add_argument("package", type=Path, help="the .tgz that npm packs")
    try:
        with tarfile.open(parser.parse_args().package) as archive:
            atlas(archive).save(FILE, optimize=True)
    except (OSError, tarfile.TarError, ValueError) as error:
        print(f"emoji: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
