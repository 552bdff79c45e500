"""An archive is unpacked whole and right, or refused with nothing written."""

import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import py7zr
import pytest

from imgclf.errors import InputError
from imgclf.images.archives import Limits, check_members, extract_7z, extract_zip, require_room, zip_members

IMAGES = re.compile(r"train/[1-9]\d*\.png")
LIMITS = Limits(member_bytes=10_000, total_bytes=100_000, members=50)


def extract(archive, folder):
    return extract_7z(archive, folder, allowed=IMAGES, limits=LIMITS)


def renamed(archive: Path, old: str, new: str) -> Path:
    """Give a member another name of the same length, as no packer would, and put the checksums right."""
    data = bytearray(archive.read_bytes().replace(old.encode("utf-16le"), new.encode("utf-16le")))
    offset, size = struct.unpack_from("<QQ", data, 12)
    struct.pack_into("<I", data, 28, zlib.crc32(data[32 + offset : 32 + offset + size]))
    struct.pack_into("<I", data, 8, zlib.crc32(data[12:32]))
    archive.write_bytes(data)
    return archive


def test_every_member_comes_out_with_its_bytes(tmp_path, seven_zip):
    members = {f"train/{n}.png": bytes([n]) * n * 100 for n in range(1, 30)}
    assert extract(seven_zip(tmp_path / "a.7z", members), tmp_path / "out") == 29
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {
        name.removeprefix("train/"): data for name, data in members.items()
    }


@pytest.mark.parametrize("name", ["../../1.png", "/rain/1.png", "train/../../", "C:\\ain/1.png", "..\\../1.png"])
def test_a_member_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    archive = tmp_path / "a.7z"
    with py7zr.SevenZipFile(archive, "w") as packed:
        packed.set_encoded_header_mode(False)
        packed.writestr(b"x", "train/1.png".ljust(len(name), "0"))
    renamed(archive, "train/1.png".ljust(len(name), "0"), name)
    with pytest.raises(InputError, match="leads out of the folder"):
        extract(archive, tmp_path / "deep" / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.7z"]


def test_a_symbolic_link_is_refused_in_7z_and_zip(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("/etc/passwd")
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as packed:
        packed.write(link, "train/1.png")
    with pytest.raises(InputError, match="is a link"):
        extract(tmp_path / "a.7z", tmp_path / "out")
    info = zipfile.ZipInfo("train/1.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="is a link"):
        check_members(tmp_path / "a.zip", zip_members(tmp_path / "a.zip"), IMAGES, LIMITS)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"train/1.png": bytes(10_001)}, "is larger than 10,000 bytes"),
        (
            {f"train/{n}.png": bytes(9_000) for n in range(1, 13)},
            "would unpack to 12 members and 108,000 bytes",
        ),
        ({f"train/{n}.png": b"x" for n in range(1, 52)}, "at most 50 members"),
        ({"train/1.png": b"x", "train/virus.exe": b"x"}, "'train/virus.exe' is not expected"),
        ({"train/1.png": b"x", "1.png": b"x"}, "'1.png' is not expected"),
        ({"train/1.png": b""}, "came out empty"),
    ],
)
def test_what_does_not_belong_or_is_too_much_is_refused(tmp_path, seven_zip, members, message):
    with pytest.raises(InputError, match=message):
        extract(seven_zip(tmp_path / "a.7z", members), tmp_path / "out")


def test_a_name_that_comes_twice_is_refused(tmp_path):
    archive = tmp_path / "a.7z"
    with py7zr.SevenZipFile(archive, "w") as packed:
        packed.set_encoded_header_mode(False)
        packed.writestr(b"x", "train/1.png")
        packed.writestr(b"y", "train/2.png")
    with pytest.raises(InputError, match="is there twice"):
        extract(renamed(archive, "train/2.png", "train/1.png"), tmp_path / "out")


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_a_7z_cut_short_is_refused(tmp_path, seven_zip, png_bytes, kept):
    archive = seven_zip(tmp_path / "a.7z", {f"train/{n}.png": png_bytes(n) for n in range(1, 20)})
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match=r"a\.7z is no 7z archive, or is cut short or damaged"):
        extract(archive, tmp_path / "out")


def test_a_7z_with_a_wrong_byte_anywhere_is_refused_or_harmless(tmp_path, seven_zip, png_bytes):
    members = {f"train/{n}.png": png_bytes(n) for n in range(1, 6)}
    archive = seven_zip(tmp_path / "a.7z", members)
    good = archive.read_bytes()
    refused = 0
    places = range(0, len(good), len(good) // 60)
    for position in places:
        data = bytearray(good)
        data[position] ^= 0x55
        archive.write_bytes(data)
        out = tmp_path / f"out{position}"
        try:
            extract(archive, out)
        except InputError:
            refused += 1
        else:
            assert {f"train/{p.name}": p.read_bytes() for p in out.iterdir()} == members
    assert refused > 0.9 * len(places)


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04" + bytes(100), b"7z\xbc\xaf\x27\x1c" + bytes(100)])
def test_a_file_that_is_no_archive_is_refused(tmp_path, data):
    for name, read in (("a.7z", lambda a: extract(a, tmp_path / "out")), ("a.zip", zip_members)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=r"is no .* archive"):
            read(tmp_path / name)


def test_a_zip_member_appears_only_when_whole(tmp_path, png_bytes):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("1.png", png_bytes(1))
    data = bytearray(archive.read_bytes())
    data[len(png_bytes(1)) // 2] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        extract_zip(archive, {"1.png": tmp_path / "out" / "1.png"})
    assert not (tmp_path / "out" / "1.png").exists()


def test_an_encrypted_archive_is_refused(tmp_path):
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w", password="secret") as packed:
        packed.writestr(b"x", "train/1.png")
    with pytest.raises(InputError, match=r"a\.7z"):
        extract(tmp_path / "a.7z", tmp_path / "out")


def test_a_disk_without_room_is_noticed_before(tmp_path):
    with pytest.raises(InputError, match="make room"):
        require_room(tmp_path / "not" / "yet", [2**60])
