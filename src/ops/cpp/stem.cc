#include "stem.h"

#include "gemm.h"
#include "operands.h"
#include "parallel.h"
#include "simd.h"
#include "tiles.h"

namespace densenet {
namespace {

constexpr int kColours = 3;

// Lines of the images around a strip of the convolution's output, channels last, with zeros outside of the image.
class ImageTiles {
 public:
  ImageTiles(const Stem& stem, int threads)
      : stem_(stem),
        strips_(stem.conv_extent(), stem.channels, threads),
        line_((stem.images.width + 2L * (stem.kernel / 2)) * kColours),
        tiles_(buffers(threads, line_ * lines(strips_.max_height))) {}

  const Strips& strips() const { return strips_; }
  long line() const { return line_; }  // floats
  const float* fill(const float* images, long strip, int thread) const {
    const int height = stem_.images.height, width = stem_.images.width, padding = stem_.kernel / 2;
    const long area = static_cast<long>(height) * width;
    const float* image = images + strips_.image(strip) * area * kColours;
    float *tile = tiles_[thread].get(), *out = tile;
    const int first = strips_.first(strip) * stem_.step() - padding;
    for (int y = first; y < first + lines(strips_.height(strip)); y++, out += line_) {
      std::fill(out, out + line_, 0.0f);
      if (y < 0 || y >= height) continue;
      for (int colour = 0; colour < kColours; colour++) {
        const float* source = image + colour * area + static_cast<long>(y) * width;
        float* target = out + padding * kColours + colour;
        for (int x = 0; x < width; x++) target[static_cast<long>(x) * kColours] = source[x];
      }
    }
    return tile;
  }

 private:
  int lines(int height) const { return (height - 1) * stem_.step() + stem_.kernel; }

  const Stem& stem_;
  Strips strips_;
  long line_;
  std::vector<Buffer<>> tiles_;
};

// convolved = conv(images); its moments are added to those of each thread unless they are null.
void convolve(const Stem& stem, int threads, const float* images, float* convolved, std::vector<Moments>* moments) {
  const int channels = stem.channels, kernel = stem.kernel, columns = padded(channels);
  Panels<Fp32> weights(kernel, kernel * kColours, columns);
  weights.pack(kernel, kernel * kColours, columns, threads, [&](int ky, int kx_colour, int c) {
    const int kx = kx_colour / kColours, colour = kx_colour % kColours;
    return c < channels ? stem.conv[((static_cast<long>(c) * kColours + colour) * kernel + ky) * kernel + kx] : 0.0f;
  });
  const ImageTiles tiles(stem, threads);
  const Strips& strips = tiles.strips();
  const long stride = pixel_stride(channels), step = stem.step();
  const int width = stem.conv_extent().width;
  parallel(threads, [&](int thread) {
    const Range mine = share(strips.count(), thread, threads);
    for (long strip = mine.begin; strip < mine.end; strip++) {
      const float* tile = tiles.fill(images, strip, thread);
      float* out = convolved + strips.first_pixel(strip) * stride;
      for (int y = 0; y < strips.height(strip); y++, out += width * stride) {
        multiply(tile + y * step * tiles.line(), step * kColours, tiles.line(), width, weights, out, stride);
        if (moments) (*moments)[thread].add(out, stride, width, 0, columns);
      }
    }
  });
}

// The part of a 3x3 window of stride 2 that lies inside the map.
struct Window {
  Window(const Stem& stem, int y, int x)
      : first_line(std::max(2 * y - stem.pool_top, 0)),
        end_line(std::min(2 * y - stem.pool_top + 3, stem.conv_extent().height)),
        first_column(std::max(2 * x - stem.pool_left, 0)),
        end_column(std::min(2 * x - stem.pool_left + 3, stem.conv_extent().width)) {}
  template <class Visit>
  void for_each(int width, const Visit& visit) const {
    for (long line = first_line; line < end_line; line++) {
      for (long column = first_column; column < end_column; column++) visit(line * width + column);
    }
  }
  int first_line, end_line, first_column, end_column;
};

// y = pool(relu(affine(convolved))), pooled if the stem does that.
void activate(const Stem& stem, int threads, const float* convolved, const Affine& affine, float* y,
              std::vector<Moments>* moments) {
  const int columns = padded(stem.channels);
  const long stride = pixel_stride(stem.channels);
  const Extent in = stem.conv_extent(), out = stem.out_extent();
  parallel(threads, [&](int thread) {
    const Range lines = share(static_cast<long>(out.batch) * out.height, thread, threads);
    for (long line = lines.begin; line < lines.end; line++) {
      float* to = y + line * out.width * stride;
      if (stem.pool) {
        const float* image = convolved + line / out.height * in.height * in.width * stride;
        for (int x = 0; x < out.width; x++) {
          const Window window(stem, static_cast<int>(line % out.height), x);
          for (int c = 0; c < columns; c += kLanes) {
            const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
            Vec largest{};  // of values behind a ReLU
            window.for_each(in.width, [&](long pixel) {
              const Vec value = relu(load(image + pixel * stride + c) * scale + offset);
              largest = (value <= largest) | (largest != largest) ? largest : value;  // NaN stays NaN
            });
            store(to + x * stride + c, largest);
          }
        }
      } else {
        normalise_rows<Fp32>(convolved + line * in.width * stride, stride, in.width, stem.channels, affine, to, stride);
      }
      if (moments) (*moments)[thread].add(to, stride, out.width, 0, columns);
    }
  });
}

// d_relu = gradient of relu's input at affine(convolved), and its sums of each thread; d_y has been corrected with
// `correction` of y. With a pool, the first of a window's largest values gets its gradient.
void backward_activation(const Stem& stem, int threads, const float* convolved, const Affine& affine,
                         const float* mean, const float* y, const float* d_y, const Correction& correction,
                         float* d_relu, std::vector<NormSums>& sums) {
  const int channels = stem.channels;
  const long stride = pixel_stride(channels);
  const Extent in = stem.conv_extent(), out = stem.out_extent();
  const long in_area = static_cast<long>(in.height) * in.width, out_area = static_cast<long>(out.height) * out.width;
  parallel(threads, [&](int thread) {
    const Range images = share(in.batch, thread, threads);
    for (long image = images.begin; image < images.end; image++) {
      const float* x = convolved + image * in_area * stride;
      float* d_x = d_relu + image * in_area * stride;
      std::fill(d_x, d_x + (in_area - 1) * stride + padded(channels), 0.0f);
      for (long pixel = 0; pixel < out_area; pixel++) {
        const Window window(stem, static_cast<int>(pixel / out.width), static_cast<int>(pixel % out.width));
        for (int c = 0; c < padded(channels); c += kLanes) {
          const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
          const long i = (image * out_area + pixel) * stride + c;
          const Vec value = load(y + i);
          Vec d = load(d_y + i) + load(correction.constant.get() + c) + load(correction.slope.get() + c) * value;
          d = where_positive(value, d);
          if (!stem.pool) {
            store(d_x + pixel * stride + c, d);
            continue;
          }
          window.for_each(in.width, [&](long source) {
            float* target = d_x + source * stride + c;
            const auto is_largest = load(x + source * stride + c) * scale + offset >= value;
            store(target, load(target) + (is_largest ? d : Vec{}));
            d = is_largest ? Vec{} : d;
          });
        }
      }
      for (int c = 0; c < padded(channels); c += kLanes) {
        const Vec m = load_first(mean + c, channels - c);
        Vec sum{}, centred{};
        for (long pixel = 0; pixel < in_area; pixel++) {
          const Vec d = load(d_x + pixel * stride + c);
          sum += d;
          centred += d * (load(x + pixel * stride + c) - m);
        }
        sums[thread].add(c, sum, centred);
      }
    }
  });
}

}  // namespace

void train_forward(const Stem& stem, const float* images, float* convolved, float* conv_stats, float* y,
                   float* y_stats) {
  const int threads = thread_count(), channels = stem.channels;
  const long pixels = stem.conv_extent().pixels();
  float *mean = conv_stats, *variance = conv_stats + channels;
  std::vector<Moments> moments(threads, Moments(padded(channels))), y_moments = moments;
  convolve(stem, threads, images, convolved, &moments);
  total(moments).finish(pixels, 0, channels, mean, variance);
  follow(stem.norm, pixels, channels, mean, variance);
  Affine affine(channels);
  affine.set(stem.norm, mean, variance, channels);
  activate(stem, threads, convolved, affine, y, &y_moments);
  total(y_moments).finish(stem.out_extent().pixels(), 0, channels, y_stats, y_stats + channels);
}

void infer(const Stem& stem, const float* images, float* convolved, float* y) {
  const int threads = thread_count();
  convolve(stem, threads, images, convolved, nullptr);
  Affine affine(stem.channels);
  affine.set(stem.norm, stem.norm.mean, stem.norm.variance, stem.channels);
  activate(stem, threads, convolved, affine, y, nullptr);
}

void backward(const Stem& stem, const float* images, const float* convolved, const float* conv_stats, const float* y,
              const float* y_stats, const float* d_y, const float* d_y_stats, float* scratch, float* d_conv,
              float* d_gamma, float* d_beta) {
  const int threads = thread_count(), channels = stem.channels, columns = padded(channels), kernel = stem.kernel;
  const long stride = pixel_stride(channels), step = stem.step();
  const float *mean = conv_stats, *variance = conv_stats + channels;
  Affine affine(channels);
  affine.set(stem.norm, mean, variance, channels);
  Correction correction(channels);
  correction.set(MomentGradients(d_y_stats, channels), y_stats, stem.out_extent().pixels(), 0, channels);
  std::vector<NormSums> sums(threads, NormSums(columns));
  backward_activation(stem, threads, convolved, affine, mean, y, d_y, correction, scratch, sums);
  MomentGradients d_moments(channels);
  finish(total(sums), stem.norm, variance, channels, d_gamma, d_beta, d_moments);

  correction.set(d_moments, mean, stem.conv_extent().pixels(), 0, channels);
  const ImageTiles tiles(stem, threads);
  const Strips& strips = tiles.strips();
  const int width = stem.conv_extent().width;
  const long depth = static_cast<long>(kernel) * kColours;
  const std::vector<Buffer<>> d_tiles = buffers(threads, static_cast<size_t>(strips.max_height) * width * columns);
  const std::vector<Buffer<>> d_weights = buffers(threads, kernel * depth * columns);
  parallel(threads, [&](int thread) {
    float* d_tile = d_tiles[thread].get();
    std::fill(d_weights[thread].get(), d_weights[thread].get() + kernel * depth * columns, 0.0f);
    const Range mine = share(strips.count(), thread, threads);
    for (long strip = mine.begin; strip < mine.end; strip++) {
      const float* tile = tiles.fill(images, strip, thread);
      const long first = strips.first_pixel(strip), pixels = static_cast<long>(strips.height(strip)) * width;
      for (long p = 0; p < pixels; p++) {
        for (int c = 0; c < columns; c += kLanes) {
          const long i = (first + p) * stride + c;
          store(d_tile + p * columns + c,
                load(affine.scale.get() + c) * load(scratch + i) +
                    (load(correction.slope.get() + c) * load(convolved + i) + load(correction.constant.get() + c)));
        }
      }
      for (int ky = 0; ky < kernel; ky++) {
        accumulate<Fp32>({tile + ky * tiles.line(), step * kColours, step * tiles.line()}, static_cast<int>(depth),
                   {d_tile, columns, static_cast<long>(width) * columns}, columns, width, strips.height(strip),
                   d_weights[thread].get() + ky * depth * columns);
      }
    }
  });
  reduce(d_weights, kernel * depth * columns);
  for (int c = 0; c < channels; c++) {
    for (int colour = 0; colour < kColours; colour++) {
      for (int tap = 0; tap < kernel * kernel; tap++) {
        const long row = tap / kernel * depth + tap % kernel * kColours + colour;
        *d_conv++ = d_weights[0][row * columns + c];
      }
    }
  }
}

}  // namespace densenet
