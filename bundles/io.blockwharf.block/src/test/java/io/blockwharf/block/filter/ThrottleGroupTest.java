package io.blockwharf.block.filter;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.block.filter.ThrottleGroup.Limits;
import io.blockwharf.block.filter.ThrottleGroup.Rate;
import io.blockwharf.block.filter.ThrottleGroup.Rates;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.reflect.RecordComponent;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Function;

/** QEMU's docs/throttle.txt. Time stands still unless the test moves it. */
class ThrottleGroupTest {
    private static final Rate NONE = new Rate(0, 0, 1);
    private static final Rates FREE = new Rates(NONE, NONE, NONE);
    private static final long MILLI = 1_000_000;

    private long now;

    private ThrottleGroup group(Rates operations, Rates bytes, long operationBytes) {
        return new ThrottleGroup(new Limits(operations, bytes, operationBytes), () -> now);
    }

    private static Rates total(long average, long burst, long seconds) {
        return new Rates(new Rate(average, burst, seconds), NONE, NONE);
    }

    private static List<Long> admitted(ThrottleGroup group, int times, boolean write, long bytes) {
        List<Long> millis = new ArrayList<>();
        for (int i = 0; i < times; i++) {
            millis.add(group.admit(write, bytes) / MILLI);
        }
        return millis;
    }

    @Test
    void withoutLimitsNobodyWaits() {
        ThrottleGroup group = group(FREE, FREE, 0);
        assertTrue(group.unlimited());
        assertEquals(List.of(0L, 0L, 0L), admitted(group, 3, true, 1 << 30));
    }

    @Test
    void atenthOfASecondMayBeDoneAtOnceThenTheAverageHolds() {
        // 20 a second: two at once, then one every 50 ms
        ThrottleGroup group = group(total(20, 0, 1), FREE, 0);
        assertEquals(List.of(0L, 0L, 0L, 50L, 100L), admitted(group, 5, false, 512));
        now += 1000 * MILLI;
        assertEquals(List.of(0L, 0L, 0L, 50L), admitted(group, 4, true, 512));
    }

    @Test
    void aBurstMayBeFasterForItsLength() {
        // Ten a second, but 100 in the first second
        ThrottleGroup group = group(total(10, 100, 1), FREE, 0);
        List<Long> waits = admitted(group, 103, false, 512);
        assertEquals(0, waits.get(100));
        assertEquals(List.of(100L, 200L), waits.subList(101, 103));
    }

    @Test
    void aLongBurstDoesNotComeAllAtOnce() {
        // 100 a second for 10 seconds: ten at once, then one every 10 ms
        ThrottleGroup group = group(total(10, 100, 10), FREE, 0);
        assertEquals(List.of(0L, 10L, 20L), admitted(group, 13, false, 512).subList(10, 13));
    }

    @Test
    void readsAndWritesHaveLimitsOfTheirOwn() {
        Rates rates = new Rates(NONE, new Rate(10, 0, 1), new Rate(1, 0, 1));
        ThrottleGroup group = group(rates, FREE, 0);
        assertEquals(List.of(0L, 900L), admitted(group, 2, true, 512));
        assertEquals(List.of(0L, 0L, 100L), admitted(group, 3, false, 512));
    }

    @Test
    void bytesAreCounted() {
        ThrottleGroup group = group(FREE, total(1000, 0, 1), 0);
        assertEquals(List.of(0L, 400L, 900L), admitted(group, 3, false, 500));
    }

    @Test
    void aLargeRequestCountsAsSeveralOperations() {
        ThrottleGroup group = group(total(10, 0, 1), FREE, 4096);
        assertEquals(List.of(0L, 300L), admitted(group, 2, false, 16384));
        assertEquals(List.of(700L, 800L), admitted(group, 2, false, 512));
    }

    @Test
    @Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
    void whoWaitsGoesOnWhenTheLimitsChange() throws InterruptedException {
        ThrottleGroup group = new ThrottleGroup(new Limits(total(1, 0, 1), FREE, 0));
        group.admit(false, 512);
        for (int i = 0; i < 100_000; i++) {
            group.admit(false, 512);
        }
        Thread waiting = Thread.ofPlatform().start(() -> group.await(false, 512));
        assertFalse(waiting.join(Duration.ofMillis(50)));
        group.limits(new Limits(FREE, FREE, 0));
        waiting.join();
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    x-iops-total=5 x-iops-read=4                      | bps/iops/max total values and read/write values cannot be used at the same time
                    bps-total=5 bps-write=4                           | bps/iops/max total values and read/write values cannot be used at the same time
                    iops-total=-7                                     | bps/iops/max values must be within [0, 1000000000000000]
                    iops-total=1000000000000001                       | bps/iops/max values must be within [0, 1000000000000000]
                    x-iops-total=-5                                   | Property values cannot be negative
                    iops-total-max=7                                  | bps_max/iops_max require corresponding bps/iops values
                    iops-total=10 iops-total-max=7                    | bps_max/iops_max cannot be lower than bps/iops
                    iops-total=10 iops-total-max=20 iops-total-max-length=0 | the burst length cannot be 0
                    iops-total=10 iops-total-max-length=5             | burst length set without burst rate
                    bps-read=10 bps-read-max=1000000000000 bps-read-max-length=4294967295 | burst length too high for this burst rate
                    bps-read=10 bps-read-max=20 bps-read-max-length=4294967296 | bps-read-max-length value must be in the range [0, 4294967295]
                    iops-size=5                                       | iops size requires an iops value to be set
                    """)
    void limitsThatDoNotGoTogether(String text, String message) {
        ThrottleGroupType type = new ThrottleGroupType();
        RuntimeException e =
                assertThrows(
                        RuntimeException.class, () -> type.create("g", Given.properties(text)));
        assertEquals(message, e.getMessage());
        assertEquals(QmpException.class, e.getClass());
    }

    @Test
    void bothFormsAreShownAndTheFirstOneWins() {
        ThrottleGroupType type = new ThrottleGroupType();
        var all = type.complete(Given.properties("x-iops-total=5 x-bps-read=9 iops-total=7"));
        assertEquals(Optional.of(7L), all.xIopsTotal());
        assertEquals(Optional.of(9L), all.limits().orElseThrow().bpsRead());
        assertEquals(Optional.of(1L), all.limits().orElseThrow().bpsReadMaxLength());
    }

    @Test
    void onlyTheFirstFormCanBeChanged() {
        ThrottleGroupType type = new ThrottleGroupType();
        Object group = type.create("g", Given.properties("iops-total=5"));
        var all = type.complete(Given.properties("iops-total=5"));
        var other = Given.properties("iops-total=8");
        type.change(group, Given.with(all, other.limits()));
        assertEquals(8, ((ThrottleGroup) group).limits().operations().total().average());
        var old = type.complete(Given.properties("x-iops-total=3"));
        assertThrows(QmpException.class, () -> type.change(group, old));
    }

    /** Properties as words, for which the constructor has too many arguments. */
    private static final class Given {
        static ThrottleGroupType.Properties properties(String text) {
            List<String> words = Arrays.asList(text.strip().split(" +"));
            return create(
                    ThrottleGroupType.Properties.class,
                    name ->
                            name.equals("limits")
                                    ? Optional.of(
                                            create(
                                                    ThrottleGroupType.ThrottleLimits.class,
                                                    limit -> number(words, limit)))
                                    : number(words, name));
        }

        static ThrottleGroupType.Properties with(
                ThrottleGroupType.Properties all,
                Optional<ThrottleGroupType.ThrottleLimits> limits) {
            return create(
                    ThrottleGroupType.Properties.class,
                    name -> name.equals("limits") ? limits : component(all, name));
        }

        private static Optional<Long> number(List<String> words, String name) {
            String wanted = name.replaceAll("([A-Z])", "-$1").toLowerCase(Locale.ROOT);
            return words.stream()
                    .map(word -> word.split("="))
                    .filter(pair -> pair[0].equals(wanted))
                    .map(pair -> Long.valueOf(pair[1]))
                    .findFirst();
        }

        private static Object component(Record record, String name) {
            try {
                return record.getClass().getMethod(name).invoke(record);
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
        }

        private static <R extends Record> R create(Class<R> type, Function<String, Object> values) {
            var components = type.getRecordComponents();
            try {
                return type.getDeclaredConstructor(
                                Arrays.stream(components)
                                        .map(RecordComponent::getType)
                                        .toArray(Class<?>[]::new))
                        .newInstance(
                                Arrays.stream(components)
                                        .map(one -> values.apply(one.getName()))
                                        .toArray());
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
        }
    }
}
