"""Writes a wav file in another format: encode_script.py IN OUT. Runs in the worker's venv, which
has ffmpeg's libraries.
"""

from __future__ import annotations

import sys

import av

CODECS = {"mp3": "libmp3lame", "m4a": "aac", "ogg": "libopus", "flac": "flac", "webm": "libopus"}


def encode(source: str, target: str) -> None:
    codec = CODECS[target.rpartition(".")[2]]
    with av.open(source) as reading, av.open(target, "w") as writing:
        stream = writing.add_stream(codec, rate=48_000, layout="mono")
        wanted = stream.codec_context.format or "fltp"
        resampler = av.AudioResampler(format=wanted, layout="mono", rate=48_000)
        for frame in reading.decode(audio=0):
            for piece in resampler.resample(frame):
                writing.mux(stream.encode(piece))
        for piece in resampler.resample(None):
            writing.mux(stream.encode(piece))
        writing.mux(stream.encode(None))


if __name__ == "__main__":
    encode(sys.argv[1], sys.argv[2])
