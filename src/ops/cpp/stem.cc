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
  const std::vector<Buffer<>> lines = buffers(threads, static_cast<size_t>(width) * columns);
  parallel(threads, [&](int thread) {
    float* line = lines[thread].get();
    const Range mine = share(strips.count(), thread, threads);
    for (long strip = mine.begin; strip < mine.end; strip++) {
      const float* tile = tiles.fill(images, strip, thread);
      float* out = convolved + strips.first_pixel(strip) * stride;
      for (int y = 0; y < strips.height(strip); y++) {
        multiply(tile + y * step * tiles.line(), step * kColours, tiles.line(), width, weights, line, columns);
        if (moments) (*moments)[thread].add(line, columns, width, 0, columns);
        for (long x = 0; x < width; x++, out += stride) stream_floats(line + x * columns, columns, out);
      }
    }
  });
}

constexpr int kWindow = 3;  // lines and columns of a window of the pool

// The part of a window that lies inside the map; without a pool it is one pixel.
struct Window {
  Window(const Stem& stem, int y, int x)
      : first_line(std::max(stem.step() * y - stem.pool_top, 0)),
        end_line(std::min(2 * y - stem.pool_top + kWindow, stem.conv_extent().height)),
        first_column(std::max(2 * x - stem.pool_left, 0)),
        end_column(std::min(2 * x - stem.pool_left + kWindow, stem.conv_extent().width)) {}
  // Calls visit(line, column).
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (long line = first_line; line < end_line; line++) {
      for (long column = first_column; column < end_column; column++) visit(line, column);
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
            window.for_each([&](long line_in, long column) {
              const Vec value = relu(load(image + (line_in * in.width + column) * stride + c) * scale + offset);
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
// `correction` of y. With a pool, the first of a window's largest values gets its gradient: a line is complete when the
// windows of the next two lines have been visited, so three lines at a time are in the making.
void backward_activation(const Stem& stem, int threads, const float* convolved, const Affine& affine,
                         const float* mean, const float* y, const float* d_y, const Correction& correction,
                         float* d_relu, std::vector<NormSums>& sums) {
  const int columns = padded(stem.channels);
  const long stride = pixel_stride(stem.channels);
  const Extent in = stem.conv_extent(), out = stem.out_extent();
  const long in_line = in.width * stride, out_line = out.width * stride;
  const long line_floats = static_cast<long>(in.width) * columns;
  const std::vector<Buffer<>> rings = buffers(threads, kWindow * line_floats);
  parallel(threads, [&](int thread) {
    float* ring = rings[thread].get();
    const auto made = [&](long line) { return ring + line % kWindow * line_floats; };
    const auto spread = [&](const float* x, int line, int column, int c, Vec value, Vec d) {
      const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
      Window(stem, line, column).for_each([&](long source_line, long source_column) {
        float* target = made(source_line) + source_column * columns + c;
        const auto is_largest = load(x + source_line * in_line + source_column * stride + c) * scale + offset >= value;
        store(target, load(target) + (is_largest ? d : Vec{}));
        d = is_largest ? Vec{} : d;
      });
    };
    const auto finish_line = [&](const float* x, float* d_made, float* d_out) {
      for (int c = 0; c < columns; c += kLanes) {
        const Vec m = load_first(mean + c, stem.channels - c);
        Vec sum{}, centred{};
        for (long column = 0; column < in.width; column++) {
          const Vec d = load(d_made + column * columns + c);
          sum += d;
          centred += d * (load(x + column * stride + c) - m);
          stream(d_out + column * stride + c, d);
          store(d_made + column * columns + c, Vec{});
        }
        sums[thread].add(c, sum, centred);
      }
    };
    std::fill_n(ring, kWindow * line_floats, 0.0f);
    const Range images = share(in.batch, thread, threads);
    for (long image = images.begin; image < images.end; image++) {
      const float* x = convolved + image * in.height * in_line;
      float* d_x = d_relu + image * in.height * in_line;
      for (int line = 0, finished = 0; line < out.height; line++) {
        for (int column = 0; column < out.width; column++) {
          const long pixel = (image * out.height + line) * out_line + column * stride;
          for (int c = 0; c < columns; c += kLanes) {
            const Vec value = load(y + pixel + c);
            const Vec d = where_positive(value, load(d_y + pixel + c) + load(correction.constant.get() + c) +
                                                    load(correction.slope.get() + c) * value);
            if (stem.pool) {
              spread(x, line, column, c, value, d);
            } else {
              store(made(line) + column * columns + c, d);
            }
          }
        }
        const int complete = line + 1 == out.height ? in.height : Window(stem, line + 1, 0).first_line;
        for (; finished < complete; finished++) {
          finish_line(x + finished * in_line, made(finished), d_x + finished * in_line);
        }
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
