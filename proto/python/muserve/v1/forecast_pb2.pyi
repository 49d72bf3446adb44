from google.api import annotations_pb2 as _annotations_pb2
from muserve.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Frequency(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FREQUENCY_UNSPECIFIED: _ClassVar[Frequency]
    FREQUENCY_YEARLY: _ClassVar[Frequency]
    FREQUENCY_QUARTERLY: _ClassVar[Frequency]
    FREQUENCY_MONTHLY: _ClassVar[Frequency]
    FREQUENCY_WEEKLY: _ClassVar[Frequency]
    FREQUENCY_DAILY: _ClassVar[Frequency]
    FREQUENCY_HOURLY: _ClassVar[Frequency]
    FREQUENCY_OTHER: _ClassVar[Frequency]

class PointForecast(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POINT_FORECAST_UNSPECIFIED: _ClassVar[PointForecast]
    POINT_FORECAST_MEDIAN: _ClassVar[PointForecast]
    POINT_FORECAST_MEAN: _ClassVar[PointForecast]
FREQUENCY_UNSPECIFIED: Frequency
FREQUENCY_YEARLY: Frequency
FREQUENCY_QUARTERLY: Frequency
FREQUENCY_MONTHLY: Frequency
FREQUENCY_WEEKLY: Frequency
FREQUENCY_DAILY: Frequency
FREQUENCY_HOURLY: Frequency
FREQUENCY_OTHER: Frequency
POINT_FORECAST_UNSPECIFIED: PointForecast
POINT_FORECAST_MEDIAN: PointForecast
POINT_FORECAST_MEAN: PointForecast

class ForecastRequest(_message.Message):
    __slots__ = ("model", "version", "series", "horizon", "frequency", "quantiles", "non_negative", "point")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    NON_NEGATIVE_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    series: _containers.RepeatedCompositeFieldContainer[TimeSeries]
    horizon: int
    frequency: Frequency
    quantiles: _containers.RepeatedScalarFieldContainer[float]
    non_negative: bool
    point: PointForecast
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., series: _Optional[_Iterable[_Union[TimeSeries, _Mapping]]] = ..., horizon: _Optional[int] = ..., frequency: _Optional[_Union[Frequency, str]] = ..., quantiles: _Optional[_Iterable[float]] = ..., non_negative: bool = ..., point: _Optional[_Union[PointForecast, str]] = ...) -> None: ...

class TimeSeries(_message.Message):
    __slots__ = ("id", "values", "times_unix_s", "frequency")
    ID_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    TIMES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    id: str
    values: _containers.RepeatedScalarFieldContainer[float]
    times_unix_s: _containers.RepeatedScalarFieldContainer[int]
    frequency: Frequency
    def __init__(self, id: _Optional[str] = ..., values: _Optional[_Iterable[float]] = ..., times_unix_s: _Optional[_Iterable[int]] = ..., frequency: _Optional[_Union[Frequency, str]] = ...) -> None: ...

class ForecastResponse(_message.Message):
    __slots__ = ("info", "forecasts")
    INFO_FIELD_NUMBER: _ClassVar[int]
    FORECASTS_FIELD_NUMBER: _ClassVar[int]
    info: _common_pb2.ResponseInfo
    forecasts: _containers.RepeatedCompositeFieldContainer[SeriesForecast]
    def __init__(self, info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ..., forecasts: _Optional[_Iterable[_Union[SeriesForecast, _Mapping]]] = ...) -> None: ...

class SeriesForecast(_message.Message):
    __slots__ = ("id", "frequency", "point", "quantiles", "times_unix_s", "direct_steps", "experimental")
    ID_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    QUANTILES_FIELD_NUMBER: _ClassVar[int]
    TIMES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    DIRECT_STEPS_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENTAL_FIELD_NUMBER: _ClassVar[int]
    id: str
    frequency: Frequency
    point: _containers.RepeatedScalarFieldContainer[float]
    quantiles: _containers.RepeatedCompositeFieldContainer[QuantileForecast]
    times_unix_s: _containers.RepeatedScalarFieldContainer[int]
    direct_steps: int
    experimental: bool
    def __init__(self, id: _Optional[str] = ..., frequency: _Optional[_Union[Frequency, str]] = ..., point: _Optional[_Iterable[float]] = ..., quantiles: _Optional[_Iterable[_Union[QuantileForecast, _Mapping]]] = ..., times_unix_s: _Optional[_Iterable[int]] = ..., direct_steps: _Optional[int] = ..., experimental: bool = ...) -> None: ...

class QuantileForecast(_message.Message):
    __slots__ = ("level", "values")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    level: float
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, level: _Optional[float] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...
