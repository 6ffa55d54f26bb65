"""Says a text in a wav file, by eSpeak NG out of its Python package: speak_script.py VOICE BEFORE
AFTER, with the text on stdin and the file on stdout. BEFORE and AFTER are seconds of silence.

A program, as eSpeak NG reads memory that it has given back when it begins twice in a process.
"""

from __future__ import annotations

import array
import ctypes
import io
import sys
import wave

import espeakng_loader

_SYNCHRONOUS = 2
_UTF_8 = 1


def speak(text: str, voice: str, before: float, after: float) -> bytes:
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    path = str(espeakng_loader.get_data_path()).encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS, 500, path, 0)
    samples = array.array("h", bytes(2 * int(rate * before)))
    shape = ctypes.CFUNCTYPE(
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_short),
        ctypes.c_int,
        ctypes.c_void_p,
    )

    def take(sound: ctypes.Array[ctypes.c_short], count: int, _events: object) -> int:
        if sound and count > 0:
            samples.extend(sound[:count])
        return 0

    callback = shape(take)
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetVoiceByName(voice.encode())
    words = text.encode() + b"\0"
    library.espeak_Synth(words, len(words), 0, 0, 0, _UTF_8, None, None)
    library.espeak_Synchronize()
    samples.extend([0] * int(rate * after))
    return as_wav(samples, rate)


def as_wav(samples: array.array[int], rate: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


if __name__ == "__main__":
    voice, before, after = sys.argv[1:]
    text = sys.stdin.buffer.read().decode()
    sys.stdout.buffer.write(speak(text, voice, float(before), float(after)))
