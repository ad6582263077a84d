// The only door to the convolutions: which of them a Number gets follows from its engine, for every file that asks.
#pragma once

#include "convolutions/conv1x1.h"
#include "convolutions/conv3x3_amx.h"
#include "convolutions/conv3x3_direct.h"
#include "convolutions/conv3x3_tiles.h"
#include "convolutions/conv3x3_winograd.h"
#include "convolutions/stem_conv.h"
#include "convolutions/stem_gradient_amx.h"
#include "convolutions/stem_gradient_registers.h"
#include "convolutions/stem_image_gradient.h"
#include "products/engine.h"

namespace densenet {

template <class Engine>
struct ConvolutionsOf;

template <class Number>
struct ConvolutionsOf<RegisterEngine<Number>> {
  using Conv3x3 = WinogradConv3x3<Number>;
  using Conv3x3Backward = WinogradConv3x3Backward<Number>;
  using Conv3x3InInference = Conv3x3;
  using StemGradient = RegisterStemGradient<Number>;
};

template <>
struct ConvolutionsOf<RegisterEngine<Fp32>> {
  using Conv3x3 = WinogradConv3x3<Fp32>;
  using Conv3x3Backward = WinogradConv3x3Backward<Fp32>;
  using Conv3x3InInference = TiledConv3x3<FilterOfTwo, FilterOfFour>;
  using StemGradient = RegisterStemGradient<Fp32>;
};

template <>
struct ConvolutionsOf<RegisterEngine<Int8>> {
  using Conv3x3 = DirectConv3x3;
};

#ifdef __AMX_BF16__
template <>
struct ConvolutionsOf<AmxEngine> {
  using Conv3x3 = AmxConv3x3;
  using Conv3x3Backward = AmxConv3x3Backward;
  using Conv3x3InInference = AmxConv3x3;
  using StemGradient = AmxStemGradient;
};
#endif

template <class Number>
using Conv3x3 = typename ConvolutionsOf<Engine<Number>>::Conv3x3;
template <class Number>
using Conv3x3Backward = typename ConvolutionsOf<Engine<Number>>::Conv3x3Backward;
template <class Number>
using Conv3x3InInference = typename ConvolutionsOf<Engine<Number>>::Conv3x3InInference;
template <class Number>
using StemGradient = typename ConvolutionsOf<Engine<Number>>::StemGradient;

}  // namespace densenet
