package io.blockwharf.core.control;

import io.blockwharf.core.qapi.Branches;
import io.blockwharf.core.qapi.TypeArguments;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.TreeMap;

/**
 * The drivers of one kind by name, and with them the branches of the union of their options. Of
 * several drivers of one name the one that came first is used. Thread-safe; whoever must not see
 * drivers come and go changes it under the control lock.
 *
 * @param <D> the contract, a service that is a {@code D<O>} takes options {@code O}
 */
public final class InstalledDrivers<D> implements Branches {
    private final Class<?> contract;
    private final Class<? extends Record> union;
    private final String nameProperty;

    /** Guarded by this; no list is empty. */
    private final NavigableMap<String, List<D>> drivers = new TreeMap<>();

    /**
     * No drivers yet.
     *
     * @param union the record whose branches their options are
     * @param nameProperty the service property with a driver's name
     */
    public InstalledDrivers(Class<?> contract, Class<? extends Record> union, String nameProperty) {
        this.contract = contract;
        this.union = union;
        this.nameProperty = nameProperty;
    }

    /** A driver has come. */
    public synchronized void add(D driver, Map<String, Object> properties) {
        drivers.computeIfAbsent(name(properties), _ -> new ArrayList<>()).add(driver);
    }

    /** A driver goes: it is not found any more. */
    public synchronized void remove(D driver, Map<String, Object> properties) {
        drivers.computeIfPresent(
                name(properties),
                (_, named) -> {
                    named.removeIf(each -> each == driver);
                    return named.isEmpty() ? null : named;
                });
    }

    /** The name of the driver with these properties. */
    public String name(Map<String, Object> properties) {
        return String.valueOf(properties.get(nameProperty));
    }

    /** The driver of that name. */
    public synchronized Optional<D> find(String name) {
        return Optional.ofNullable(drivers.get(name)).map(List::getFirst);
    }

    /** The drivers that are used by name, in order, as they are now. */
    public synchronized SequencedMap<String, D> byName() {
        SequencedMap<String, D> used = new LinkedHashMap<>();
        drivers.forEach((name, named) -> used.put(name, named.getFirst()));
        return used;
    }

    @Override
    public SequencedMap<String, Class<? extends Record>> of(Class<? extends Record> ofUnion) {
        SequencedMap<String, Class<? extends Record>> all = new LinkedHashMap<>();
        if (ofUnion == union) {
            byName().forEach(
                            (name, driver) ->
                                    all.put(
                                            name,
                                            TypeArguments.record(driver.getClass(), contract)));
        }
        return all;
    }
}
