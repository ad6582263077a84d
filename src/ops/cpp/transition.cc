#include "transition.h"

#include "gemm.h"
#include "operands.h"
#include "parallel.h"
#include "simd.h"
#include "tiles.h"

namespace densenet {
namespace {

// The upper left one of the four input pixels of output pixel `pixel`.
long first_of_four(const Transition& transition, long pixel) {
  const Extent in = transition.extent, out = transition.out_extent();
  const long image = pixel / (out.height * out.width), in_image = pixel % (out.height * out.width);
  return (image * in.height + in_image / out.width * 2) * in.width + in_image % out.width * 2;
}

// tile (rows, tile_stride) = average over the 2x2 windows of relu(affine(x)), for `rows` output pixels from `first` on.
void pool(const Transition& transition, const float* x, const Affine& affine, long first, long rows, float* tile,
          long tile_stride) {
  const long right = pixel_stride(transition.in_channels), below = transition.extent.width * right;
  for (long row = 0; row < rows; row++) {
    const float* four = x + first_of_four(transition, first + row) * right;
    for (int c = 0; c < padded(transition.in_channels); c += kLanes) {
      const Vec above = normalised(four, affine, c) + normalised(four + right, affine, c);
      const Vec under = normalised(four + below, affine, c) + normalised(four + below + right, affine, c);
      store(tile + row * tile_stride + c, (above + under) * 0.25f);
    }
  }
}

// y = conv(pool(relu(affine(x)))); its moments are added to those of each thread unless they are null.
void forward(const Transition& transition, int threads, const float* x, const Affine& affine, float* y,
             std::vector<Moments>* moments) {
  const int in_channels = transition.in_channels, out_channels = transition.out_channels;
  const long out_stride = pixel_stride(out_channels), tile_stride = scratch_stride(in_channels);
  const Chunks chunks(transition.out_extent().pixels(), in_channels, threads);
  Panels<Fp32> weights(1, in_channels, padded(out_channels));
  weights.pack(1, in_channels, padded(out_channels), threads, [&](int, int c, int k) {
    return k < out_channels ? transition.conv[static_cast<long>(k) * in_channels + c] : 0.0f;
  });
  const std::vector<Buffer<>> tiles = buffers(threads, Chunks::scratch_values(in_channels));
  parallel(threads, [&](int thread) {
    float* tile = tiles[thread].get();
    const Range mine = share(chunks.count(), thread, threads);
    for (long chunk = mine.begin; chunk < mine.end; chunk++) {
      const long first = chunks.first(chunk), rows = chunks.length(chunk);
      pool(transition, x, affine, first, rows, tile, tile_stride);
      float* out = y + first * out_stride;
      multiply(tile, tile_stride, 0, static_cast<int>(rows), weights, out, out_stride);
      if (moments) (*moments)[thread].add(out, out_stride, rows, 0, padded(out_channels));
    }
  });
}

}  // namespace

void train_forward(const Transition& transition, const float* x, const float* stats, float* y, float* y_stats) {
  const int threads = thread_count(), in_channels = transition.in_channels, out_channels = transition.out_channels;
  Affine affine(in_channels);
  affine.set(transition.norm, stats, stats + in_channels, in_channels);
  follow(transition.norm, transition.extent.pixels(), in_channels, stats, stats + in_channels);
  std::vector<Moments> moments(threads, Moments(padded(out_channels)));
  forward(transition, threads, x, affine, y, &moments);
  total(moments).finish(transition.out_extent().pixels(), 0, out_channels, y_stats, y_stats + out_channels);
}

void infer(const Transition& transition, const float* x, float* y) {
  Affine affine(transition.in_channels);
  affine.set(transition.norm, transition.norm.mean, transition.norm.variance, transition.in_channels);
  forward(transition, thread_count(), x, affine, y, nullptr);
}

void backward(const Transition& transition, const float* x, const float* stats, const float* y, const float* y_stats,
              const float* d_y, const float* d_y_stats, float* d_x, float* d_stats, float* d_gamma, float* d_beta,
              float* d_conv) {
  const int threads = thread_count(), in_channels = transition.in_channels, out_channels = transition.out_channels;
  const int in_width = padded(in_channels), out_width = padded(out_channels);
  const Extent &in = transition.extent, out = transition.out_extent();
  const long stride = pixel_stride(in_channels), out_stride = pixel_stride(out_channels);
  const long below = in.width * stride, window[] = {0, stride, below, below + stride};
  Affine affine(in_channels);
  affine.set(transition.norm, stats, stats + in_channels, in_channels);
  MomentGradients d_y_moments(d_y_stats, out_channels), d_moments(in_channels);
  Correction correction(out_channels);
  correction.set(d_y_moments, y_stats, out.pixels(), 0, out_channels);
  const Chunks chunks(out.pixels(), in_channels + out_channels, threads);
  Panels<Fp32> weights(1, out_channels, in_width);
  weights.pack(1, out_channels, in_width, threads, [&](int, int k, int c) {
    return c < in_channels ? transition.conv[static_cast<long>(k) * in_channels + c] : 0.0f;
  });
  const std::vector<Buffer<>> tiles = buffers(threads, Chunks::scratch_values(in_channels));
  const std::vector<Buffer<>> d_tiles = buffers(threads, Chunks::scratch_values(out_channels));
  constexpr long kRows = 2 * kTileRows[2];  // of gradients of the pooled maps at a time
  const std::vector<Buffer<>> d_rows = buffers(threads, kRows * in_width);
  const std::vector<Buffer<>> chunk_sums = buffers(threads, 2L * in_width);
  const std::vector<Buffer<>> d_weights = buffers(threads, static_cast<size_t>(in_channels) * out_width);
  std::vector<NormSums> sums(threads, NormSums(in_width));
  if (in.height % 2 || in.width % 2) {  // what no window covers
    std::fill(d_x, d_x + (in.pixels() - 1) * stride + in_width, 0.0f);
  }
  parallel(threads, [&](int thread) {
    float *tile = tiles[thread].get(), *d_tile = d_tiles[thread].get(), *d_pooled = d_rows[thread].get();
    const long tile_stride = scratch_stride(in_channels), d_stride = scratch_stride(out_channels);
    std::fill(d_weights[thread].get(), d_weights[thread].get() + static_cast<long>(in_channels) * out_width, 0.0f);
    const Range mine = share(chunks.count(), thread, threads);
    for (long chunk = mine.begin; chunk < mine.end; chunk++) {
      const long first = chunks.first(chunk), rows = chunks.length(chunk);
      pool(transition, x, affine, first, rows, tile, tile_stride);
      for (long row = 0; row < rows; row++) {
        for (int k = 0; k < out_width; k += kLanes) {
          const long i = (first + row) * out_stride + k;
          store(d_tile + row * d_stride + k, load(d_y + i) + load(correction.constant.get() + k) +
                                                 load(correction.slope.get() + k) * load(y + i));
        }
      }
      accumulate<Fp32>({tile, tile_stride, 0}, in_channels, {d_tile, d_stride, 0}, out_width, static_cast<int>(rows), 1,
                 d_weights[thread].get());
      float *sum = chunk_sums[thread].get(), *centred = sum + in_width;
      std::fill_n(sum, 2 * in_width, 0.0f);
      for (long p = 0; p < rows; p += kRows) {
        const long count = std::min(rows - p, kRows);
        multiply(d_tile + p * d_stride, d_stride, 0, static_cast<int>(count), weights, d_pooled, in_width);
        for (long row = 0; row < count; row++) {
          const long four = first_of_four(transition, first + p + row) * stride;
          for (int c = 0; c < in_width; c += kLanes) {
            const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
            const Vec mean = load_first(stats + c, in_channels - c);
            const Vec d = load(d_pooled + row * in_width + c) * 0.25f;
            Vec all = load(sum + c), all_centred = load(centred + c);
            for (long pixel : window) {
              const Vec value = load(x + four + pixel + c), masked = where_positive(value * scale + offset, d);
              all += masked;
              all_centred += masked * (value - mean);
              stream(d_x + four + pixel + c, scale * masked);
            }
            store(sum + c, all);
            store(centred + c, all_centred);
          }
        }
      }
      for (int c = 0; c < in_width; c += kLanes) sums[thread].add(c, load(sum + c), load(centred + c));
    }
  });
  reduce(d_weights, static_cast<long>(in_channels) * out_width);
  for (int k = 0; k < out_channels; k++) {
    for (int c = 0; c < in_channels; c++) *d_conv++ = d_weights[0][static_cast<size_t>(c) * out_width + k];
  }
  finish(total(sums), transition.norm, stats + in_channels, in_channels, d_gamma, d_beta, d_moments);
  d_moments.copy_to(d_stats, in_channels);
}

}  // namespace densenet
