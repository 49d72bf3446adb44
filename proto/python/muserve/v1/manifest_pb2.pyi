from google.protobuf import any_pb2 as _any_pb2
from muserve.v1 import answer_pb2 as _answer_pb2
from muserve.v1 import common_pb2 as _common_pb2
from muserve.v1 import forecast_pb2 as _forecast_pb2
from muserve.v1 import image_pb2 as _image_pb2
from muserve.v1 import music_pb2 as _music_pb2
from muserve.v1 import translation_pb2 as _translation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    DATA_TYPE_FLOAT32: _ClassVar[DataType]
    DATA_TYPE_INT64: _ClassVar[DataType]
    DATA_TYPE_INT32: _ClassVar[DataType]
    DATA_TYPE_BOOL: _ClassVar[DataType]
    DATA_TYPE_UINT8: _ClassVar[DataType]

class ForecastScaling(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FORECAST_SCALING_UNSPECIFIED: _ClassVar[ForecastScaling]
    FORECAST_SCALING_NONE: _ClassVar[ForecastScaling]
    FORECAST_SCALING_RELATIVE: _ClassVar[ForecastScaling]
DATA_TYPE_UNSPECIFIED: DataType
DATA_TYPE_FLOAT32: DataType
DATA_TYPE_INT64: DataType
DATA_TYPE_INT32: DataType
DATA_TYPE_BOOL: DataType
DATA_TYPE_UINT8: DataType
FORECAST_SCALING_UNSPECIFIED: ForecastScaling
FORECAST_SCALING_NONE: ForecastScaling
FORECAST_SCALING_RELATIVE: ForecastScaling

class ModelManifest(_message.Message):
    __slots__ = ("format_version", "name", "version", "task", "description", "graphs", "task_name", "image", "forecast", "music", "translation", "answer", "custom", "training_data", "licence", "metrics", "goldens", "files", "frameworks", "training")
    class FrameworksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class TrainingEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    GRAPHS_FIELD_NUMBER: _ClassVar[int]
    TASK_NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FORECAST_FIELD_NUMBER: _ClassVar[int]
    MUSIC_FIELD_NUMBER: _ClassVar[int]
    TRANSLATION_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    TRAINING_DATA_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    GOLDENS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORKS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    name: str
    version: int
    task: _common_pb2.Task
    description: str
    graphs: _containers.RepeatedCompositeFieldContainer[Graph]
    task_name: str
    image: ImageSettings
    forecast: ForecastSettings
    music: MusicSettings
    translation: TranslationSettings
    answer: AnswerSettings
    custom: _any_pb2.Any
    training_data: _containers.RepeatedCompositeFieldContainer[TrainingData]
    licence: str
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    goldens: _containers.RepeatedCompositeFieldContainer[GoldenRequest]
    files: _containers.RepeatedCompositeFieldContainer[BundleFile]
    frameworks: _containers.ScalarMap[str, str]
    training: _containers.ScalarMap[str, str]
    def __init__(self, format_version: _Optional[int] = ..., name: _Optional[str] = ..., version: _Optional[int] = ..., task: _Optional[_Union[_common_pb2.Task, str]] = ..., description: _Optional[str] = ..., graphs: _Optional[_Iterable[_Union[Graph, _Mapping]]] = ..., task_name: _Optional[str] = ..., image: _Optional[_Union[ImageSettings, _Mapping]] = ..., forecast: _Optional[_Union[ForecastSettings, _Mapping]] = ..., music: _Optional[_Union[MusicSettings, _Mapping]] = ..., translation: _Optional[_Union[TranslationSettings, _Mapping]] = ..., answer: _Optional[_Union[AnswerSettings, _Mapping]] = ..., custom: _Optional[_Union[_any_pb2.Any, _Mapping]] = ..., training_data: _Optional[_Iterable[_Union[TrainingData, _Mapping]]] = ..., licence: _Optional[str] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ..., goldens: _Optional[_Iterable[_Union[GoldenRequest, _Mapping]]] = ..., files: _Optional[_Iterable[_Union[BundleFile, _Mapping]]] = ..., frameworks: _Optional[_Mapping[str, str]] = ..., training: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Graph(_message.Message):
    __slots__ = ("role", "onnx_file", "torchscript_file", "inputs", "outputs", "opset", "max_batch_rows", "parity", "batch_invariance", "max_threads")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ONNX_FILE_FIELD_NUMBER: _ClassVar[int]
    TORCHSCRIPT_FILE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    OPSET_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_ROWS_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    BATCH_INVARIANCE_FIELD_NUMBER: _ClassVar[int]
    MAX_THREADS_FIELD_NUMBER: _ClassVar[int]
    role: str
    onnx_file: str
    torchscript_file: str
    inputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    opset: int
    max_batch_rows: int
    parity: Parity
    batch_invariance: BatchInvariance
    max_threads: int
    def __init__(self, role: _Optional[str] = ..., onnx_file: _Optional[str] = ..., torchscript_file: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., opset: _Optional[int] = ..., max_batch_rows: _Optional[int] = ..., parity: _Optional[_Union[Parity, _Mapping]] = ..., batch_invariance: _Optional[_Union[BatchInvariance, _Mapping]] = ..., max_threads: _Optional[int] = ...) -> None: ...

class TensorSpec(_message.Message):
    __slots__ = ("name", "dtype", "shape", "unit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    unit: str
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., unit: _Optional[str] = ...) -> None: ...

class Parity(_message.Message):
    __slots__ = ("tolerance", "batch_sizes", "onnx_max_abs_diff", "torchscript_max_abs_diff")
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZES_FIELD_NUMBER: _ClassVar[int]
    ONNX_MAX_ABS_DIFF_FIELD_NUMBER: _ClassVar[int]
    TORCHSCRIPT_MAX_ABS_DIFF_FIELD_NUMBER: _ClassVar[int]
    tolerance: float
    batch_sizes: _containers.RepeatedScalarFieldContainer[int]
    onnx_max_abs_diff: float
    torchscript_max_abs_diff: float
    def __init__(self, tolerance: _Optional[float] = ..., batch_sizes: _Optional[_Iterable[int]] = ..., onnx_max_abs_diff: _Optional[float] = ..., torchscript_max_abs_diff: _Optional[float] = ...) -> None: ...

class BatchInvariance(_message.Message):
    __slots__ = ("exact", "batch_sizes", "max_abs_diff", "measured_on")
    EXACT_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZES_FIELD_NUMBER: _ClassVar[int]
    MAX_ABS_DIFF_FIELD_NUMBER: _ClassVar[int]
    MEASURED_ON_FIELD_NUMBER: _ClassVar[int]
    exact: bool
    batch_sizes: _containers.RepeatedScalarFieldContainer[int]
    max_abs_diff: float
    measured_on: str
    def __init__(self, exact: bool = ..., batch_sizes: _Optional[_Iterable[int]] = ..., max_abs_diff: _Optional[float] = ..., measured_on: _Optional[str] = ...) -> None: ...

class ImageSettings(_message.Message):
    __slots__ = ("graph", "latent_input", "latent_size", "image_output", "height", "width", "channels", "black", "white", "labels", "label_input", "truncation_input")
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    LATENT_INPUT_FIELD_NUMBER: _ClassVar[int]
    LATENT_SIZE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    BLACK_FIELD_NUMBER: _ClassVar[int]
    WHITE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LABEL_INPUT_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_INPUT_FIELD_NUMBER: _ClassVar[int]
    graph: str
    latent_input: str
    latent_size: int
    image_output: str
    height: int
    width: int
    channels: int
    black: float
    white: float
    labels: _containers.RepeatedScalarFieldContainer[str]
    label_input: str
    truncation_input: str
    def __init__(self, graph: _Optional[str] = ..., latent_input: _Optional[str] = ..., latent_size: _Optional[int] = ..., image_output: _Optional[str] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., channels: _Optional[int] = ..., black: _Optional[float] = ..., white: _Optional[float] = ..., labels: _Optional[_Iterable[str]] = ..., label_input: _Optional[str] = ..., truncation_input: _Optional[str] = ...) -> None: ...

class ForecastSettings(_message.Message):
    __slots__ = ("graph", "scaling", "window_steps", "horizon_steps", "quantiles", "frequencies", "max_horizon", "min_points")
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    SCALING_FIELD_NUMBER: _ClassVar[int]
    WINDOW_STEPS_FIELD_NUMBER: _ClassVar[int]
    HORIZON_STEPS_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    FREQUENCIES_FIELD_NUMBER: _ClassVar[int]
    MAX_HORIZON_FIELD_NUMBER: _ClassVar[int]
    MIN_POINTS_FIELD_NUMBER: _ClassVar[int]
    graph: str
    scaling: ForecastScaling
    window_steps: int
    horizon_steps: int
    quantiles: _containers.RepeatedScalarFieldContainer[float]
    frequencies: _containers.RepeatedCompositeFieldContainer[FrequencySettings]
    max_horizon: int
    min_points: int
    def __init__(self, graph: _Optional[str] = ..., scaling: _Optional[_Union[ForecastScaling, str]] = ..., window_steps: _Optional[int] = ..., horizon_steps: _Optional[int] = ..., quantiles: _Optional[_Iterable[float]] = ..., frequencies: _Optional[_Iterable[_Union[FrequencySettings, _Mapping]]] = ..., max_horizon: _Optional[int] = ..., min_points: _Optional[int] = ...) -> None: ...

class FrequencySettings(_message.Message):
    __slots__ = ("frequency", "periods", "context_steps", "horizon_steps", "experimental", "spread")
    FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    PERIODS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_STEPS_FIELD_NUMBER: _ClassVar[int]
    HORIZON_STEPS_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENTAL_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    frequency: _forecast_pb2.Frequency
    periods: _containers.RepeatedScalarFieldContainer[int]
    context_steps: int
    horizon_steps: int
    experimental: bool
    spread: float
    def __init__(self, frequency: _Optional[_Union[_forecast_pb2.Frequency, str]] = ..., periods: _Optional[_Iterable[int]] = ..., context_steps: _Optional[int] = ..., horizon_steps: _Optional[int] = ..., experimental: bool = ..., spread: _Optional[float] = ...) -> None: ...

class MusicSettings(_message.Message):
    __slots__ = ("generator", "accompanist", "bars", "beats_per_bar", "beat_unit", "steps_per_bar", "lowest_pitch", "pitches", "max_bars", "tracks", "styles", "constant_latent_input", "constant_latent_size", "bar_latents_input", "bar_latent_size", "style_input", "tempo_input", "density_input", "onset_output", "hold_output", "onset_threshold", "hold_threshold")
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    ACCOMPANIST_FIELD_NUMBER: _ClassVar[int]
    BARS_FIELD_NUMBER: _ClassVar[int]
    BEATS_PER_BAR_FIELD_NUMBER: _ClassVar[int]
    BEAT_UNIT_FIELD_NUMBER: _ClassVar[int]
    STEPS_PER_BAR_FIELD_NUMBER: _ClassVar[int]
    LOWEST_PITCH_FIELD_NUMBER: _ClassVar[int]
    PITCHES_FIELD_NUMBER: _ClassVar[int]
    MAX_BARS_FIELD_NUMBER: _ClassVar[int]
    TRACKS_FIELD_NUMBER: _ClassVar[int]
    STYLES_FIELD_NUMBER: _ClassVar[int]
    CONSTANT_LATENT_INPUT_FIELD_NUMBER: _ClassVar[int]
    CONSTANT_LATENT_SIZE_FIELD_NUMBER: _ClassVar[int]
    BAR_LATENTS_INPUT_FIELD_NUMBER: _ClassVar[int]
    BAR_LATENT_SIZE_FIELD_NUMBER: _ClassVar[int]
    STYLE_INPUT_FIELD_NUMBER: _ClassVar[int]
    TEMPO_INPUT_FIELD_NUMBER: _ClassVar[int]
    DENSITY_INPUT_FIELD_NUMBER: _ClassVar[int]
    ONSET_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    HOLD_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ONSET_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    HOLD_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    generator: str
    accompanist: str
    bars: int
    beats_per_bar: int
    beat_unit: int
    steps_per_bar: int
    lowest_pitch: int
    pitches: int
    max_bars: int
    tracks: _containers.RepeatedCompositeFieldContainer[MusicTrackSettings]
    styles: _containers.RepeatedCompositeFieldContainer[MusicStyleSettings]
    constant_latent_input: str
    constant_latent_size: int
    bar_latents_input: str
    bar_latent_size: int
    style_input: str
    tempo_input: str
    density_input: str
    onset_output: str
    hold_output: str
    onset_threshold: float
    hold_threshold: float
    def __init__(self, generator: _Optional[str] = ..., accompanist: _Optional[str] = ..., bars: _Optional[int] = ..., beats_per_bar: _Optional[int] = ..., beat_unit: _Optional[int] = ..., steps_per_bar: _Optional[int] = ..., lowest_pitch: _Optional[int] = ..., pitches: _Optional[int] = ..., max_bars: _Optional[int] = ..., tracks: _Optional[_Iterable[_Union[MusicTrackSettings, _Mapping]]] = ..., styles: _Optional[_Iterable[_Union[MusicStyleSettings, _Mapping]]] = ..., constant_latent_input: _Optional[str] = ..., constant_latent_size: _Optional[int] = ..., bar_latents_input: _Optional[str] = ..., bar_latent_size: _Optional[int] = ..., style_input: _Optional[str] = ..., tempo_input: _Optional[str] = ..., density_input: _Optional[str] = ..., onset_output: _Optional[str] = ..., hold_output: _Optional[str] = ..., onset_threshold: _Optional[float] = ..., hold_threshold: _Optional[float] = ...) -> None: ...

class MusicTrackSettings(_message.Message):
    __slots__ = ("role", "name", "drums", "program", "velocity", "off_beat_velocity", "min_note_steps", "max_notes_per_step")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DRUMS_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    VELOCITY_FIELD_NUMBER: _ClassVar[int]
    OFF_BEAT_VELOCITY_FIELD_NUMBER: _ClassVar[int]
    MIN_NOTE_STEPS_FIELD_NUMBER: _ClassVar[int]
    MAX_NOTES_PER_STEP_FIELD_NUMBER: _ClassVar[int]
    role: str
    name: str
    drums: bool
    program: int
    velocity: int
    off_beat_velocity: int
    min_note_steps: int
    max_notes_per_step: int
    def __init__(self, role: _Optional[str] = ..., name: _Optional[str] = ..., drums: bool = ..., program: _Optional[int] = ..., velocity: _Optional[int] = ..., off_beat_velocity: _Optional[int] = ..., min_note_steps: _Optional[int] = ..., max_notes_per_step: _Optional[int] = ...) -> None: ...

class MusicStyleSettings(_message.Message):
    __slots__ = ("name", "tempo_bpm", "lowest_tempo_bpm", "highest_tempo_bpm", "programs")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEMPO_BPM_FIELD_NUMBER: _ClassVar[int]
    LOWEST_TEMPO_BPM_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_TEMPO_BPM_FIELD_NUMBER: _ClassVar[int]
    PROGRAMS_FIELD_NUMBER: _ClassVar[int]
    name: str
    tempo_bpm: float
    lowest_tempo_bpm: float
    highest_tempo_bpm: float
    programs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., tempo_bpm: _Optional[float] = ..., lowest_tempo_bpm: _Optional[float] = ..., highest_tempo_bpm: _Optional[float] = ..., programs: _Optional[_Iterable[int]] = ...) -> None: ...

class TranslationSettings(_message.Message):
    __slots__ = ("directions", "image_input", "image_output", "tile_size", "overlap", "black", "white")
    DIRECTIONS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_INPUT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    TILE_SIZE_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    BLACK_FIELD_NUMBER: _ClassVar[int]
    WHITE_FIELD_NUMBER: _ClassVar[int]
    directions: _containers.RepeatedCompositeFieldContainer[TranslationDirection]
    image_input: str
    image_output: str
    tile_size: int
    overlap: int
    black: float
    white: float
    def __init__(self, directions: _Optional[_Iterable[_Union[TranslationDirection, _Mapping]]] = ..., image_input: _Optional[str] = ..., image_output: _Optional[str] = ..., tile_size: _Optional[int] = ..., overlap: _Optional[int] = ..., black: _Optional[float] = ..., white: _Optional[float] = ...) -> None: ...

class TranslationDirection(_message.Message):
    __slots__ = ("source", "target", "graph")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    source: str
    target: str
    graph: str
    def __init__(self, source: _Optional[str] = ..., target: _Optional[str] = ..., graph: _Optional[str] = ...) -> None: ...

class AnswerSettings(_message.Message):
    __slots__ = ("reader", "writer", "tokenizer_file", "question_tokens", "passage_tokens", "passage_characters", "answer_tokens", "latent_size", "corpora", "passages_read", "search_weight", "answerable_scale", "answerable_offset", "answerable_threshold", "kinds", "temperature", "least_share", "question_step", "passage_step", "source_step")
    READER_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FILE_FIELD_NUMBER: _ClassVar[int]
    QUESTION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LATENT_SIZE_FIELD_NUMBER: _ClassVar[int]
    CORPORA_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_READ_FIELD_NUMBER: _ClassVar[int]
    SEARCH_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ANSWERABLE_SCALE_FIELD_NUMBER: _ClassVar[int]
    ANSWERABLE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    ANSWERABLE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    LEAST_SHARE_FIELD_NUMBER: _ClassVar[int]
    QUESTION_STEP_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_STEP_FIELD_NUMBER: _ClassVar[int]
    SOURCE_STEP_FIELD_NUMBER: _ClassVar[int]
    reader: str
    writer: str
    tokenizer_file: str
    question_tokens: int
    passage_tokens: int
    passage_characters: int
    answer_tokens: int
    latent_size: int
    corpora: _containers.RepeatedCompositeFieldContainer[AnswerCorpus]
    passages_read: int
    search_weight: float
    answerable_scale: float
    answerable_offset: float
    answerable_threshold: float
    kinds: _containers.RepeatedScalarFieldContainer[str]
    temperature: float
    least_share: float
    question_step: int
    passage_step: int
    source_step: int
    def __init__(self, reader: _Optional[str] = ..., writer: _Optional[str] = ..., tokenizer_file: _Optional[str] = ..., question_tokens: _Optional[int] = ..., passage_tokens: _Optional[int] = ..., passage_characters: _Optional[int] = ..., answer_tokens: _Optional[int] = ..., latent_size: _Optional[int] = ..., corpora: _Optional[_Iterable[_Union[AnswerCorpus, _Mapping]]] = ..., passages_read: _Optional[int] = ..., search_weight: _Optional[float] = ..., answerable_scale: _Optional[float] = ..., answerable_offset: _Optional[float] = ..., answerable_threshold: _Optional[float] = ..., kinds: _Optional[_Iterable[str]] = ..., temperature: _Optional[float] = ..., least_share: _Optional[float] = ..., question_step: _Optional[int] = ..., passage_step: _Optional[int] = ..., source_step: _Optional[int] = ...) -> None: ...

class AnswerCorpus(_message.Message):
    __slots__ = ("name", "file", "licence", "origin")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    name: str
    file: str
    licence: str
    origin: str
    def __init__(self, name: _Optional[str] = ..., file: _Optional[str] = ..., licence: _Optional[str] = ..., origin: _Optional[str] = ...) -> None: ...

class TrainingData(_message.Message):
    __slots__ = ("name", "origin", "licence", "split")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    origin: str
    licence: str
    split: str
    def __init__(self, name: _Optional[str] = ..., origin: _Optional[str] = ..., licence: _Optional[str] = ..., split: _Optional[str] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("name", "value", "unit", "reference", "reference_name", "others")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_NAME_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    unit: str
    reference: float
    reference_name: str
    others: _containers.RepeatedCompositeFieldContainer[MetricReference]
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ..., reference: _Optional[float] = ..., reference_name: _Optional[str] = ..., others: _Optional[_Iterable[_Union[MetricReference, _Mapping]]] = ...) -> None: ...

class MetricReference(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class GoldenRequest(_message.Message):
    __slots__ = ("name", "file", "tolerance", "generate_images", "forecast", "generate_music", "accompany", "translate_image", "answer_question", "generate_questions", "custom")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    GENERATE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    FORECAST_FIELD_NUMBER: _ClassVar[int]
    GENERATE_MUSIC_FIELD_NUMBER: _ClassVar[int]
    ACCOMPANY_FIELD_NUMBER: _ClassVar[int]
    TRANSLATE_IMAGE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_QUESTION_FIELD_NUMBER: _ClassVar[int]
    GENERATE_QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    name: str
    file: str
    tolerance: float
    generate_images: _image_pb2.GenerateImagesRequest
    forecast: _forecast_pb2.ForecastRequest
    generate_music: _music_pb2.GenerateMusicRequest
    accompany: _music_pb2.AccompanyRequest
    translate_image: _translation_pb2.TranslateImageRequest
    answer_question: _answer_pb2.AnswerQuestionRequest
    generate_questions: _answer_pb2.GenerateQuestionsRequest
    custom: _any_pb2.Any
    def __init__(self, name: _Optional[str] = ..., file: _Optional[str] = ..., tolerance: _Optional[float] = ..., generate_images: _Optional[_Union[_image_pb2.GenerateImagesRequest, _Mapping]] = ..., forecast: _Optional[_Union[_forecast_pb2.ForecastRequest, _Mapping]] = ..., generate_music: _Optional[_Union[_music_pb2.GenerateMusicRequest, _Mapping]] = ..., accompany: _Optional[_Union[_music_pb2.AccompanyRequest, _Mapping]] = ..., translate_image: _Optional[_Union[_translation_pb2.TranslateImageRequest, _Mapping]] = ..., answer_question: _Optional[_Union[_answer_pb2.AnswerQuestionRequest, _Mapping]] = ..., generate_questions: _Optional[_Union[_answer_pb2.GenerateQuestionsRequest, _Mapping]] = ..., custom: _Optional[_Union[_any_pb2.Any, _Mapping]] = ...) -> None: ...

class BundleFile(_message.Message):
    __slots__ = ("path", "sha256", "size_bytes", "optional")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    path: str
    sha256: str
    size_bytes: int
    optional: bool
    def __init__(self, path: _Optional[str] = ..., sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., optional: bool = ...) -> None: ...
