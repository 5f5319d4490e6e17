"""Names of what operating systems, file servers and archive tools leave among a user's files."""

from __future__ import annotations

import re

# In any case of letters, as they come from file systems that do not tell them apart.
_WORDS = """
    thumbs.db ehthumbs.db ehthumbs_vista.db sthumbs.db desktop.ini zbthumbnail.info picasa.ini
    .picasa.ini .directory .ds_store .localized .apdisk .volumeicon.icns .appledouble .appledb
    .appledesktop .temporaryitems .spotlight-v100 .fseventsd .trashes .trash .hidden .xvpics
    .thumbnails .@__thumb .git .gitignore .gitattributes .gitkeep .gitmodules .keep .placeholder
    .svn .hg .dvc .dvcignore .zfs .snapshot .snapshots .dropbox .dropbox.attr .dropbox.cache
    .stfolder .stversions .bridgesort .nomedia @eadir @recycle @recently-snapshot @tmp #recycle
    #snapshot $recycle.bin lost+found dfsrprivate __macosx __pycache__
    pax_global_header @longlink paxheader paxheaders
"""
_NAMES = frozenset(_WORDS.split()) | {
    "system volume information",
    "network trash folder",
    "temporary items",
    "icon\r",
    "icon\uf00d",  # how Samba and macOS write a carriage return elsewhere
}
_PATTERNS = re.compile(
    r"""
      \._.*                      # resource forks of macOS
    | :2e.*                      # netatalk's way to write a dot
    | .*(:|\uf03a|\uf022)zone\.identifier  # whence a download came (NTFS streams, by WSL or Samba)
    | .*:(encryptable|afp_\w+|com\.apple\..*|dosattrib.*)
    | \.com\.apple\..*
    | \.trash-\d+
    | \.nfs[0-9a-f]+             # deleted, still open
    | \.fuse_hidden.*
    | \.bridgecache.*
    | \.syncthing\..*
    | found\.\d{3}               # what chkdsk found
    | paxheaders\.\d+
    | synofile_thumb.*
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def is_system_file(name: str) -> bool:
    """Whether a file or folder of this name belongs to a system, and holds nothing of the user's.

    What may be a user's is none of these: downloads that broke off (`.part`), backups, hidden files
    of other names.
    """
    return name.casefold() in _NAMES or _PATTERNS.fullmatch(name) is not None
