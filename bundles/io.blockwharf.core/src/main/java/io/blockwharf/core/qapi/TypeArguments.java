package io.blockwharf.core.qapi;

import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What a service's class puts in for the type parameters of its contract. */
public final class TypeArguments {
    private TypeArguments() {}

    /**
     * The type arguments with which a class implements a generic interface.
     *
     * @throws IllegalArgumentException if it does not, or leaves them open (a lambda, a raw type)
     */
    public static List<Type> of(Class<?> implementation, Class<?> contract) {
        List<Type> found = search(implementation, contract, Map.of());
        if (found.isEmpty() || found.stream().anyMatch(TypeVariable.class::isInstance)) {
            throw new IllegalArgumentException(
                    implementation.getName()
                            + " does not say of what it is a "
                            + contract.getName());
        }
        return found;
    }

    /** The first type argument, which must be a record. */
    public static Class<? extends Record> record(Class<?> implementation, Class<?> contract) {
        if (of(implementation, contract).getFirst() instanceof Class<?> type && type.isRecord()) {
            return type.asSubclass(Record.class);
        }
        throw new IllegalArgumentException(
                implementation.getName() + " is a " + contract.getName() + " of no record");
    }

    private static List<Type> search(
            Type type, Class<?> contract, Map<TypeVariable<?>, Type> bindings) {
        Class<?> raw;
        Map<TypeVariable<?>, Type> own = new HashMap<>();
        if (type instanceof ParameterizedType parameterized) {
            raw = (Class<?>) parameterized.getRawType();
            List<Type> arguments =
                    Arrays.stream(parameterized.getActualTypeArguments())
                            .map(argument -> bindings.getOrDefault(argument, argument))
                            .toList();
            if (raw == contract) {
                return arguments;
            }
            for (int i = 0; i < arguments.size(); i++) {
                own.put(raw.getTypeParameters()[i], arguments.get(i));
            }
        } else {
            raw = (Class<?>) type;
        }
        for (Type up : raw.getGenericInterfaces()) {
            List<Type> found = search(up, contract, own);
            if (!found.isEmpty()) {
                return found;
            }
        }
        Type superclass = raw.getGenericSuperclass();
        return superclass == null ? List.of() : search(superclass, contract, own);
    }
}
