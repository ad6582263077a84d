#include "parts/int8_layers.h"

#include "base/parallel.h"
#include "parts/pooled_pixels.h"

namespace densenet {

void infer(const DenseBlock& block, const std::vector<Int8Layer>& layers, const FeatureMap& features,
           uint8_t* scratch) {
  const int threads = thread_count(), width = block.width, padded_width = padded(width);
  const BorderedMap bottlenecks(block.extent, width);
  const Conv1x1<Int8> conv1(threads, threads, block.extent.pixels(), block.out_channels(), width);
  const Conv3x3<Int8> conv2(block.conv2_shape(), threads, threads);
  bottlenecks.clear_border(scratch);
  for (int i = 0; i < block.count(); i++) {
    const Int8Layer& layer = layers[i];
    const int channels = block.channels(i);
    conv1.run(layer.conv1, channels, width, normalised_pixels(features.from(0), layer.norm1),
              [&](const Part&, long first, long rows, const float* products) {
                bottlenecks.for_pixels(first, rows, [&](long pixel, long at) {
                  const float* sums = products + (pixel - first) * padded_width;
                  Engine<Int8>::store_row([&](int k) { return normalised(sums, layer.norm2, k); }, width, scratch + at);
                });
              });
    conv2.run(layer.conv2, scratch, layer.out, {features.pixels + channels, features.stride()});
  }
}

void infer(const Transition& transition, const Int8Transition& prepared, const float* x, const MutableRows& y) {
  const int threads = thread_count(), out_channels = transition.out_channels, padded_out = padded(out_channels);
  const Conv1x1<Int8> conv(threads, threads, transition.out_extent().pixels(), transition.in_channels, out_channels);
  const float *scale = prepared.out.scale.get(), *offset = prepared.out.offset.get();
  conv.run(prepared.conv, transition.in_channels, out_channels, pooled_pixels(transition, x, prepared.norm),
           [&](const Part&, long first, long rows, const float* products) {
             for (long row = 0; row < rows; row++) {
               float* to = y.data + (first + row) * y.stride;
               for (int k = 0; k < padded_out; k += kLanes) {
                 store(to + k, load(products + row * padded_out + k) * load(scale + k) + load(offset + k));
               }
             }
           });
}

void pack_1x1(const int8_t* weights, int in_channels, int out_channels, int threads, Conv1x1<Int8>::Weights& packed) {
  const auto weight = [=](int, int k, int column) {
    return column < out_channels ? weights[static_cast<long>(column) * in_channels + k] : int8_t{};
  };
  packed.pack(1, in_channels, padded(out_channels), threads, ByWeights{weight});
}

}  // namespace densenet
