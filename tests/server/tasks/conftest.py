"""Tiny bundles, opened."""

from __future__ import annotations

from tests.bundles import forecast_bundle, next_value_bundle
from tests.music_bundles import chord_bundle, music_bundle
from tests.server.tasks.opening import opened_bundle
from tests.translation_bundles import invert_bundle, scene_bundle

model = opened_bundle(forecast_bundle)
next_value = opened_bundle(next_value_bundle)
band = opened_bundle(music_bundle)
chords = opened_bundle(chord_bundle)
scenes = opened_bundle(scene_bundle)
negatives = opened_bundle(invert_bundle)
