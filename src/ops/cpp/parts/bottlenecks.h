// The 1x1 convolutions of a dense block's layers.
#pragma once

#include "convolutions/convolutions.h"
#include "parts/dense_block.h"

namespace densenet {

template <class Number>
class BottleneckConv {
 public:
  using Weights = typename Conv1x1<Number>::Weights;

  BottleneckConv(const DenseBlock& block, int threads, int least_pieces)
      : width_(block.width),
        threads_(threads),
        conv_(threads, least_pieces, block.extent.pixels(), block.out_channels(), block.width) {}

  void pack(const float* conv1, int channels, Weights& weights) const {
    Conv1x1<Number>::pack(conv1, channels, width_, threads_, weights);
  }

  // out (P, padded(width)) = conv1(relu(affine(features))) of the first `channels` features. Its moments are taken
  // unless they are null, as of what is not kept, but read next.
  void run(const Weights& weights, int channels, const Rows& features, const Affine& affine, OfParts<Moments>* moments,
           typename Number::Value* out) const {
    const int padded_width = padded(width_);
    if (moments) moments->begin(conv_.parts(channels));
    conv_.run(weights, channels, width_, normalised_pixels(features, affine),
              [&](const Part& part, long first, long rows, const float* products) {
                const long count = rows * padded_width;
                if (!moments) return Number::store_values(products, count, out + first * padded_width);
                (*moments)[part].add(products, padded_width, rows, 0, padded_width);
                Number::stream_values(products, count, out + first * padded_width);
              });
  }

 private:
  int width_, threads_;
  Conv1x1<Number> conv_;
};

}  // namespace densenet
