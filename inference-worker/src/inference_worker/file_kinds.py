"""Recognises files that people take for an ONNX file, by their first bytes. It opens and loads nothing."""

# The longest beginning that is needed to recognise a file, in bytes.
HEAD_BYTES = 512
# Beginning of the file -> what it is, and what to do. The longest beginning is first.
_BEGINNINGS = {
    b"version https://git-lfs.github.com/": "a pointer of Git LFS: fetch the file itself with `git lfs pull`",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, as Keras writes it: convert the model to ONNX, with tf2onnx for example",
    b"\xfd7zXZ\x00": "compressed with xz: unpack it",
    b"\x93NUMPY": "an array of NumPy, not a model",
    b"PK\x03\x04": "a zip archive: unpack it, and publish the ONNX file in it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: unpack it",
    b"GGUF": "a GGUF file, as llama.cpp reads it: export the model to ONNX",
    b"\x1f\x8b": "compressed with gzip: unpack it",
}
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body")
# The name of the pickle in an archive that torch.save writes.
_TORCH = b"/data.pkl"
_PICKLE_PROTOCOLS = range(2, 6)
_LONGEST_HEADER = 100 << 20


def kind_of(head: bytes) -> str | None:
    """head: the first HEAD_BYTES of a file, or all of it. -> what it is and what to do, to follow "the file is"; None
    if it is nothing known."""
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_HTML):
        return "an HTML page, as a server sends it for an error or a login: download the model itself"
    if head.startswith(b"PK\x03\x04") and _TORCH in head:
        return "a file of torch.save: export the module to ONNX, with torch.onnx.export for example"
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    # The length of a header in JSON, and the header.
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= _LONGEST_HEADER:
        return "a safetensors file, which has weights and no graph: export the model to ONNX"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model: convert it to ONNX, with tf2onnx for example"
    if head[:1] == b"\x80" and head[1:2] and head[1] in _PICKLE_PROTOCOLS:
        return "a pickle, which is never loaded because it can run code: export its object to ONNX"
    if head[:1] in (b"{", b"[") and b"\x00" not in head:
        return "a text such as JSON, not a model"
    return None
