package io.blockwharf.benchmarks;

import java.util.List;
import java.util.function.ToDoubleFunction;

/**
 * One run of a load against one server.
 *
 * @param requests completed requests
 * @param nanos from the first request sent to the last reply received
 * @param serverCpuNanos user and system time of all threads of the server in that time
 * @param clientCpuNanos the same of the load generator
 * @param p50Nanos median latency
 * @param p99Nanos 99th percentile of the latency
 * @param longestNanos the longest latency, to 1.6 % below; 0 if the load generator does not tell
 */
record Sample(
        long requests,
        long nanos,
        long serverCpuNanos,
        long clientCpuNanos,
        long p50Nanos,
        long p99Nanos,
        long longestNanos) {

    double requestsPerSecond() {
        return requests * 1e9 / nanos;
    }

    /** Microseconds of the server's CPU for one request. */
    double serverCpuMicros() {
        return serverCpuNanos / 1e3 / requests;
    }

    /** Microseconds of the load generator's CPU for one request. */
    double clientCpuMicros() {
        return clientCpuNanos / 1e3 / requests;
    }

    Sample withServerCpu(long cpuNanos) {
        return new Sample(
                requests, nanos, cpuNanos, clientCpuNanos, p50Nanos, p99Nanos, longestNanos);
    }

    /**
     * The median of one figure over several runs; the mean of the middle two if their number is
     * even.
     */
    static double median(List<Sample> samples, ToDoubleFunction<Sample> figure) {
        return median(samples.stream().mapToDouble(figure).toArray());
    }

    static double median(double[] values) {
        if (values.length == 0) {
            return Double.NaN;
        }
        double[] sorted = values.clone();
        java.util.Arrays.sort(sorted);
        int middle = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
